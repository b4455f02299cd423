//! How the tensors of the model's side are stored, and what is put around them.

use crate::checkpoint::Flavor;
use crate::checkpoint::torch_dist::LayerLayout;
use crate::cli::failure::Failure;
use crate::connector::TorchDist;
use clap::{Args, ValueEnum, value_parser};

/// More files than any model has layers.
const MOST_FILES: i64 = 10_000;

/// How tensors are stored.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stored {
    /// How the tensors lie on disk: torch_dist is what NeMo, Megatron-LM and Megatron-Bridge load
    /// [default: safetensors, or torch_dist with an option that is for it]
    #[arg(long, value_enum, value_name = "NAME", help_heading = "How")]
    pub container: Option<ContainerName>,
    /// The framework whose directory is put around torch_dist [default: nemo]
    #[arg(long, value_enum, value_name = "NAME", help_heading = "How")]
    pub flavor: Option<FlavorName>,
    /// How torch_dist stores layers [default: stacked, or per-layer where layers differ]
    #[arg(long, value_enum, value_name = "LAYERS", help_heading = "How")]
    pub layout: Option<Layers>,
    /// Write for the framework although it computes with another value of this field of the model's
    /// config; may be repeated, or several with commas
    #[arg(long, value_name = "FIELD", value_delimiter = ',', help_heading = "How")]
    pub accept: Vec<String>,
    /// How many files of tensors torch_dist has: more where --max-shard-size asks for it, fewer where
    /// tensors are large
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MOST_FILES), help_heading = "How")]
    pub files: Option<u32>,
}

/// How tensors lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ContainerName {
    Safetensors,
    #[value(name = "torch_dist")]
    TorchDist,
}

/// A framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FlavorName {
    Nemo,
    MegatronLm,
    MegatronBridge,
}

/// How layers are stored in torch_dist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Layers {
    Stacked,
    PerLayer,
}

impl Stored {
    /// How torch_dist is written, if that is asked for.
    ///
    /// # Errors
    /// If an option is given that safetensors has not.
    pub fn torch_dist(&self) -> Result<Option<TorchDist>, Failure> {
        let given = [
            (self.flavor.is_some(), "--flavor"),
            (self.layout.is_some(), "--layout"),
            (self.files.is_some(), "--files"),
            (!self.accept.is_empty(), "--accept"),
        ];
        let given = given.into_iter().find(|(given, _)| *given).map(|(_, option)| option);
        match (self.container, given) {
            (None | Some(ContainerName::Safetensors), None) => return Ok(None),
            (Some(ContainerName::Safetensors), Some(option)) => {
                let message = format!("{option}: safetensors has no such thing");
                return Err(Failure::usage(message).help("it belongs to --container torch_dist"));
            }
            (Some(ContainerName::TorchDist), _) | (None, Some(_)) => {}
        }
        Ok(Some(TorchDist {
            flavor: match self.flavor {
                None | Some(FlavorName::Nemo) => Flavor::Nemo,
                Some(FlavorName::MegatronLm) => Flavor::MegatronLm,
                Some(FlavorName::MegatronBridge) => Flavor::MegatronBridge,
            },
            layers: self.layout.map(|layers| match layers {
                Layers::Stacked => LayerLayout::Stacked,
                Layers::PerLayer => LayerLayout::PerLayer,
            }),
            files: self.files.map_or(0, |files| files as usize),
        }))
    }
}

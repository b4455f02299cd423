//! `connector import`.

use super::conversion::{Publish, Selection};
use crate::checkpoint::torch_dist::LayerLayout;
use crate::cli::failure::Failure;
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    #[command(flatten)]
    pub selection: Selection,
    /// The new directory [default: in the cache, see `connector cache`]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// Write torch_dist to where NeMo looks before it imports: models/ORG/NAME in NEMO_HOME, or in
    /// NEMO_MODELS_CACHE itself; of a directory its name
    #[arg(long, conflicts_with = "output")]
    pub nemo_cache: bool,
    /// How the tensors lie on disk: torch_dist is what NeMo loads [default: safetensors; torch_dist
    /// with --nemo-cache]
    #[arg(long, value_enum, value_name = "NAME", help_heading = "How")]
    pub container: Option<ContainerName>,
    /// How torch_dist stores layers: per-layer is for models whose layers differ
    #[arg(long, value_enum, value_name = "LAYERS", default_value_t = Layers::Stacked, help_heading = "How")]
    pub layout: Layers,
    #[command(flatten)]
    pub publish: Publish,
}

/// How tensors lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ContainerName {
    Safetensors,
    #[value(name = "torch_dist")]
    TorchDist,
}

/// How layers are stored in torch_dist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Layers {
    Stacked,
    PerLayer,
}

impl Import {
    /// How layers are stored in torch_dist, if that is asked for.
    ///
    /// # Errors
    /// If NeMo's cache is to have safetensors, which NeMo does not load.
    pub fn torch_dist(&self) -> Result<Option<LayerLayout>, Failure> {
        let container = match (self.container, self.nemo_cache) {
            (Some(ContainerName::Safetensors), true) => {
                let message = "--nemo-cache: NeMo does not load safetensors";
                return Err(Failure::usage(message).help("leave out --container"));
            }
            (container, true) => container.unwrap_or(ContainerName::TorchDist),
            (container, false) => container.unwrap_or(ContainerName::Safetensors),
        };
        Ok((container == ContainerName::TorchDist).then_some(match self.layout {
            Layers::Stacked => LayerLayout::Stacked,
            Layers::PerLayer => LayerLayout::PerLayer,
        }))
    }
}

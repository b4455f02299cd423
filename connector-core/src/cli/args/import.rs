//! `connector import`.

use super::conversion::{Publish, Selection};
use crate::checkpoint::torch_dist::LayerLayout;
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    #[command(flatten)]
    pub selection: Selection,
    /// The new directory [default: in the cache, see `connector cache`]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// How the tensors lie on disk: torch_dist is what NeMo loads
    #[arg(long, value_enum, value_name = "NAME", default_value_t = ContainerName::Safetensors, help_heading = "How")]
    pub container: ContainerName,
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
    pub fn torch_dist(&self) -> Option<LayerLayout> {
        (self.container == ContainerName::TorchDist).then_some(match self.layout {
            Layers::Stacked => LayerLayout::Stacked,
            Layers::PerLayer => LayerLayout::PerLayer,
        })
    }
}

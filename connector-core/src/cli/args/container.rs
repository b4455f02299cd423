//! How the tensors of the model's side are stored.

use crate::checkpoint::torch_dist::LayerLayout;
use clap::{Args, ValueEnum};

/// How tensors lie on disk.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stored {
    /// How the tensors lie on disk: torch_dist is what NeMo loads
    #[arg(long, value_enum, value_name = "NAME", default_value_t = ContainerName::Safetensors, help_heading = "How")]
    pub container: ContainerName,
    /// How torch_dist stores layers: per-layer is for models whose layers differ
    #[arg(long, value_enum, value_name = "LAYERS", default_value_t = Layers::Stacked, help_heading = "How")]
    pub layout: Layers,
}

/// The container's name.
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

impl Stored {
    /// How layers are stored in torch_dist, if that is asked for.
    pub fn torch_dist(&self) -> Option<LayerLayout> {
        (self.container == ContainerName::TorchDist).then_some(match self.layout {
            Layers::Stacked => LayerLayout::Stacked,
            Layers::PerLayer => LayerLayout::PerLayer,
        })
    }
}

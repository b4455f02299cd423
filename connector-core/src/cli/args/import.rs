//! `connector import`.

use super::container::{ContainerName, FlavorName, Stored};
use super::conversion::{Publish, Selection};
use crate::cli::failure::Failure;
use crate::connector::TorchDist;
use clap::{Args, ValueHint};
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
    #[command(flatten)]
    pub stored: Stored,
    #[command(flatten)]
    pub publish: Publish,
}

impl Import {
    /// How torch_dist is written, if that is asked for.
    ///
    /// # Errors
    /// As [`Stored::torch_dist`]; if NeMo's cache is to have what NeMo does not load.
    pub fn torch_dist(&self) -> Result<Option<TorchDist>, Failure> {
        let Stored { container, flavor, .. } = self.stored;
        let other = match (container, flavor) {
            (Some(ContainerName::Safetensors), _) => Some(("safetensors", "--container")),
            (_, Some(FlavorName::MegatronLm | FlavorName::MegatronBridge)) => {
                Some(("directories of another framework", "--flavor"))
            }
            _ => None,
        };
        match other {
            Some((what, option)) if self.nemo_cache => {
                let message = format!("--nemo-cache: NeMo does not load {what}");
                Err(Failure::usage(message).help(format!("leave out {option}")))
            }
            _ if self.nemo_cache => Ok(Some(self.stored.torch_dist()?.unwrap_or_default())),
            _ => self.stored.torch_dist(),
        }
    }
}

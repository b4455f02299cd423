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
    /// Write torch_dist to where NeMo looks before it imports: models/ORG/NAME in NEMO_HOME, or
    /// ORG/NAME in NEMO_MODELS_CACHE; of a directory its name
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
    /// If an option is given that safetensors has not, or NeMo's cache is to have what NeMo does
    /// not load.
    pub fn torch_dist(&self) -> Result<Option<TorchDist>, Failure> {
        let asked = self.stored.torch_dist()?;
        if !self.nemo_cache {
            return Ok(asked);
        }
        let Stored { container, flavor, .. } = self.stored;
        for (other, option) in [
            (container == Some(ContainerName::Safetensors), "--container"),
            (flavor.is_some_and(|flavor| flavor != FlavorName::Nemo), "--flavor"),
        ] {
            if other {
                let message = format!("{option}: --nemo-cache is for what NeMo loads");
                return Err(Failure::usage(message).help(format!("leave out {option}")));
            }
        }
        Ok(Some(asked.unwrap_or_default()))
    }
}

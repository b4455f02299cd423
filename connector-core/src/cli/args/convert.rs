//! `connector convert`.

use super::container::Stored;
use super::conversion::{How, Publish};
use super::trained::Trained;
use crate::cli::failure::Failure;
use crate::connector::ConvertOptions;
use crate::store::Overwrite;
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct Convert {
    /// The directory of the checkpoint: an output of `import`, or one of NeMo, Megatron-LM or
    /// Megatron-Bridge
    #[arg(value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    /// The model of --hf-config, if its config.json does not name an architecture that is known
    #[arg(long, value_name = "NAME", requires = "hf_config", help_heading = "What")]
    pub model: Option<String>,
    #[command(flatten)]
    pub trained: Trained,
    #[command(flatten)]
    pub stored: Stored,
    #[command(flatten)]
    pub how: How,
    /// The new directory
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    #[command(flatten)]
    pub publish: Publish,
}

impl Convert {
    /// The library's options.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<ConvertOptions, Failure> {
        self.how.resources.check_device()?;
        Ok(ConvertOptions {
            torch_dist: self.stored.torch_dist()?,
            trained: self.trained.options(),
            model: self.model.clone(),
            accept: self.stored.accept.clone(),
            engine: self.how.resources.engine(),
            max_shard_size: self.how.max_shard_size.bytes,
            overwrite: Overwrite::from(self.publish.overwrite),
            hash: self.publish.hash,
            ..ConvertOptions::default()
        })
    }
}

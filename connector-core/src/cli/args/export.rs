//! `connector export`.

use super::conversion::{How, Publish, What};
#[cfg(feature = "train")]
use super::trained::OnBase;
use super::trained::Trained;
use crate::ExportOptions;
use crate::cli::failure::Failure;
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// The directory of the checkpoint: an output of `import`, or one of NeMo, Megatron-LM or
    /// Megatron-Bridge; or of a run of `finetune`
    #[arg(value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    /// The model, if the checkpoint names a type that is not known
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub model: Option<String>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "hf", help_heading = "What")]
    pub to: String,
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub trained: Trained,
    #[cfg(feature = "train")]
    #[command(flatten)]
    pub on: OnBase,
    /// Write the rows that pad the vocabulary too, and count them in config.json's vocab_size
    #[arg(long, help_heading = "What")]
    pub keep_vocab_padding: bool,
    #[command(flatten)]
    pub how: How,
    /// The new directory
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    #[command(flatten)]
    pub publish: Publish,
}

impl Export {
    /// The library's options.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<ExportOptions, Failure> {
        self.how.resources.check_device()?;
        Ok(ExportOptions {
            format: self.to.clone(),
            model: self.model.clone(),
            trained: self.trained.options(),
            plan: self.what.options(),
            engine: self.how.resources.engine(),
            max_shard_size: self.how.max_shard_size.bytes,
            keep_vocab_padding: self.keep_vocab_padding,
            device: self.how.resources.device,
            ..ExportOptions::default()
        })
    }
}

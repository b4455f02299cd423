//! `connector verify` and `connector diff`.

use super::conversion::pattern;
#[cfg(feature = "candle")]
use super::model::CompareLogits;
use super::resources::Resources;
use super::trained::{Iteration, Trained};
use crate::cli::failure::Failure;
use crate::connector::{TrainedOptions, VerifyOptions};
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// What was converted
    #[arg(value_hint = ValueHint::DirPath)]
    pub source: PathBuf,
    /// What it was converted to
    #[arg(value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    /// The model, if config.json does not name an architecture that is known
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub model: Option<String>,
    /// The format of the side that is no output of `import`
    #[arg(long, value_name = "FORMAT", default_value = "hf", help_heading = "What")]
    pub format: String,
    /// Tensors of either side that need no counterpart; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub ignore: Vec<String>,
    #[command(flatten)]
    pub trained: Trained,
    #[cfg(feature = "candle")]
    #[command(flatten)]
    pub logits: CompareLogits,
    #[command(flatten)]
    pub resources: Resources,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// A directory or a file of tensors
    #[arg(value_hint = ValueHint::AnyPath)]
    pub one: PathBuf,
    /// The one to compare with
    #[arg(value_hint = ValueHint::AnyPath)]
    pub other: PathBuf,
    /// Tensors of either side to leave out; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub ignore: Vec<String>,
    #[command(flatten)]
    pub iteration: Iteration,
    #[command(flatten)]
    pub resources: Resources,
}

impl Verify {
    /// The library's options.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<VerifyOptions, Failure> {
        self.resources.check_device()?;
        Ok(VerifyOptions {
            format: self.format.clone(),
            model: self.model.clone(),
            ignore: self.ignore.clone(),
            trained: self.trained.options(),
            engine: self.resources.engine(),
            device: self.resources.device,
            ..VerifyOptions::default()
        })
    }
}

impl Diff {
    /// The library's options.
    pub fn options(&self) -> VerifyOptions {
        let (ignore, engine) = (self.ignore.clone(), self.resources.engine());
        let Iteration { iteration } = self.iteration;
        let trained = TrainedOptions { iteration, ..TrainedOptions::default() };
        VerifyOptions { ignore, trained, engine, ..VerifyOptions::default() }
    }
}

//! What the commands take that open checkpoints of training.

use crate::connector::TrainedOptions;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Which iteration of a run.
#[derive(Debug, Args)]
pub(in crate::cli) struct Iteration {
    /// Of a run of Megatron-LM or Megatron-Bridge this iteration, and not the newest
    #[arg(long, value_name = "N", help_heading = "What")]
    pub iteration: Option<u64>,
}

impl Iteration {
    /// The newest.
    pub const NEWEST: Iteration = Iteration { iteration: None };
}

/// Where the model of an adapter is.
#[cfg(feature = "candle")]
#[derive(Debug, Args)]
pub(in crate::cli) struct OnBase {
    /// Of an adapter whose model is not where it was any more: that model, an output of `import` or
    /// what was imported
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "What")]
    pub base: Option<PathBuf>,
}

/// Which iteration of a run, and what says which model it is.
#[derive(Debug, Args)]
pub(in crate::cli) struct Trained {
    /// Take the config, the tokenizer and all other files from this Hugging Face directory, for a
    /// checkpoint of training that does not say what model it is
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "What")]
    pub hf_config: Option<PathBuf>,
    #[command(flatten)]
    pub iteration: Iteration,
}

impl Trained {
    /// The library's options.
    pub fn options(&self) -> TrainedOptions {
        let Iteration { iteration } = self.iteration;
        TrainedOptions { iteration, hf_config: self.hf_config.clone() }
    }

    /// The first of the options that is given, which belong to checkpoints of training alone.
    pub fn given(&self) -> Option<&'static str> {
        let iteration = self.iteration.iteration.map(|_| "--iteration");
        self.hf_config.as_ref().map(|_| "--hf-config").or(iteration)
    }
}

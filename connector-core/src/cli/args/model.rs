//! What the commands take that compute a model.

use super::conversion::Cast;
use super::trained::{OnBase, Trained};
use crate::DeviceChoice;
use crate::cli::failure::Failure;
use crate::model::{GenerateOptions, LoadOptions, Sampling};
use candle_core::DType;
use clap::{Args, ValueHint, value_parser};
use std::path::PathBuf;

/// A model and where it is computed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Computed {
    /// An output of `import`, a checkpoint of training, a run of `finetune`, a Hugging Face directory, or
    /// hf://ORG/NAME[@REVISION]
    #[arg(value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    /// The model, if its config.json does not name an architecture that is known
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub model: Option<String>,
    /// The format, if it is not one of Megatron's
    #[arg(long, value_name = "FORMAT", default_value = "hf", help_heading = "What")]
    pub from: String,
    #[command(flatten)]
    pub trained: Trained,
    #[command(flatten)]
    pub on: OnBase,
    /// Compute in this type; auto is the weights' own, but f32 for bf16 where the device does not
    /// multiply it
    #[arg(long, value_enum, default_value_t = Cast::Auto, help_heading = "How")]
    pub dtype: Cast,
    /// Where it is computed: cpu, cuda, cuda:N, metal
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "How")]
    pub device: DeviceChoice,
}

/// `connector generate`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Generate {
    #[command(flatten)]
    pub computed: Computed,
    /// The text to continue
    #[arg(short, long, value_name = "TEXT", help_heading = "What")]
    pub prompt: String,
    /// The most tokens that are added
    #[arg(
        long,
        alias = "max-new-tokens",
        value_name = "N",
        default_value = "128",
        help_heading = "What"
    )]
    pub max_tokens: u32,
    /// Divide the logits by this and draw a token; 0 takes the most likely one
    #[arg(
        long,
        value_name = "T",
        default_value = "0",
        allow_negative_numbers = true,
        help_heading = "How tokens are chosen"
    )]
    pub temperature: f64,
    /// Draw among the N most likely tokens
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), help_heading = "How tokens are chosen")]
    pub top_k: Option<u32>,
    /// Draw among the most likely tokens that together have the probability P
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        help_heading = "How tokens are chosen"
    )]
    pub top_p: Option<f64>,
    /// Where the random numbers begin
    #[arg(long, value_name = "N", default_value = "0", help_heading = "How tokens are chosen")]
    pub seed: u64,
}

/// `connector logits`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Logits {
    #[command(flatten)]
    pub computed: Computed,
    /// A safetensors file with the tokens, `input_ids`, [sequences, tokens]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What")]
    pub ids: PathBuf,
    /// A new safetensors file for `logits`, [sequences, tokens, vocabulary] in f32, and `input_ids`
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What")]
    pub out: PathBuf,
}

/// What `connector verify` takes to compare what two models compute.
#[derive(Debug, Args)]
pub(in crate::cli) struct CompareLogits {
    /// Compare what the two compute, not their tensors: SOURCE by candle-transformers or
    /// --reference, CHECKPOINT by connector's own model, in f32
    #[arg(long, help_heading = "Logits")]
    pub logits: bool,
    /// Logits of SOURCE that something else has computed: a safetensors file with `input_ids` and
    /// `logits`
    #[arg(long, value_name = "FILE", requires = "logits", value_hint = ValueHint::FilePath, help_heading = "Logits")]
    pub reference: Option<PathBuf>,
    /// The tokens, in a safetensors file with `input_ids`; else two sequences of twelve
    #[arg(long, value_name = "FILE", requires = "logits", conflicts_with = "reference", value_hint = ValueHint::FilePath, help_heading = "Logits")]
    pub ids: Option<PathBuf>,
    /// Of CHECKPOINT, an adapter whose model is not where it was any more: that model, an output of
    /// `import` or what was imported
    #[arg(long, value_name = "DIR", requires = "logits", value_hint = ValueHint::DirPath, help_heading = "Logits")]
    pub base: Option<PathBuf>,
    /// The largest distance between two logits
    #[arg(long, value_name = "X", default_value = "1e-4", allow_negative_numbers = true, value_parser = tolerance, help_heading = "Logits")]
    pub tolerance: f64,
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= 0.0 => Ok(number),
        _ => Err("write a number from 0, for example 1e-4".into()),
    }
}

impl Computed {
    /// The library's options.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<LoadOptions, Failure> {
        let failed = |error| Failure::usage(format!("--device {}: {error}", self.device));
        self.device.open().map_err(failed)?;
        Ok(LoadOptions {
            format: self.from.clone(),
            model: self.model.clone(),
            trained: self.trained.options(),
            base: self.on.base.clone(),
            dtype: self.dtype.dtype(),
            device: self.device,
        })
    }
}

impl Generate {
    /// The library's options, with these tokens as ends.
    pub fn options(&self, stop: Vec<u32>) -> GenerateOptions {
        let Generate { temperature, top_k, top_p, seed, .. } = *self;
        let top_k = top_k.map(|n| n as usize);
        let sampling = Sampling { temperature, top_k, top_p, seed };
        GenerateOptions { max_tokens: self.max_tokens as usize, sampling, stop }
    }
}

impl Cast {
    fn dtype(self) -> Option<DType> {
        match self {
            Cast::Auto => None,
            Cast::Bf16 => Some(DType::BF16),
            Cast::F16 => Some(DType::F16),
            Cast::F32 => Some(DType::F32),
        }
    }
}

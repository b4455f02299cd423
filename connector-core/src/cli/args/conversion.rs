//! What the commands that convert take: which checkpoint, which of its tensors, how they are written.

use super::resources::Resources;
use crate::cli::failure::Failure;
use crate::cli::size::Size;
use crate::connector::{Experts, Weights};
use crate::key::Pattern;
use crate::plan::PlanOptions;
use crate::store::Dtype;
use crate::{ExportOptions, ImportOptions};
use clap::{Args, ValueEnum, ValueHint, value_parser};
use std::path::PathBuf;

/// A checkpoint and how it is converted.
#[derive(Debug, Args)]
pub(in crate::cli) struct Selection {
    /// The directory of the Hugging Face checkpoint, or hf://ORG/NAME[@REVISION]
    #[arg(value_hint = ValueHint::DirPath)]
    pub source: PathBuf,
    /// The model, if its config.json does not name an architecture that is known
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub model: Option<String>,
    /// The format of the source
    #[arg(long, value_name = "FORMAT", default_value = "hf", help_heading = "What")]
    pub from: String,
    /// Which weights to take: auto is safetensors, or where there are none pytorch_model.bin; pytorch
    /// is pytorch_model.bin in any case
    #[arg(long, value_enum, value_name = "NAME", default_value_t = WeightsName::Auto, help_heading = "What")]
    pub weights: WeightsName,
    #[command(flatten)]
    pub what: What,
    /// Add rows of zeros until the vocabulary is a multiple of N
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), help_heading = "What")]
    pub pad_vocab_to_multiple_of: Option<u32>,
    /// How a mixture's experts are named: `local_experts.3.linear_fc1.weight`, as NeMo does by
    /// default, or `linear_fc1.weight3`, as Megatron-core's grouped GEMM does
    #[arg(long, value_enum, value_name = "NAMES", help_heading = "What")]
    pub experts: Option<ExpertNames>,
    #[command(flatten)]
    pub how: How,
}

impl Selection {
    /// The library's options for an import.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<ImportOptions, Failure> {
        self.how.resources.check_device()?;
        Ok(ImportOptions {
            format: self.from.clone(),
            weights: match self.weights {
                WeightsName::Auto => Weights::Auto,
                WeightsName::Pytorch => Weights::Pytorch,
            },
            model: self.model.clone(),
            plan: self.what.options(),
            engine: self.how.resources.engine(),
            max_shard_size: self.how.max_shard_size.bytes,
            pad_vocab_to_multiple_of: self.pad_vocab_to_multiple_of.map(|n| n as usize),
            experts: self.experts.map(|names| match names {
                ExpertNames::Local => Experts::Local,
                ExpertNames::Grouped => Experts::Grouped,
            }),
            device: self.how.resources.device,
            ..ImportOptions::default()
        })
    }

    /// The library's options for an export, of a source that an import wrote.
    ///
    /// # Errors
    /// If an option is for imports only, or the device cannot be opened.
    pub fn export_options(&self) -> Result<ExportOptions, Failure> {
        self.how.resources.check_device()?;
        for (given, option) in [
            (self.pad_vocab_to_multiple_of.is_some(), "--pad-vocab-to-multiple-of"),
            (self.experts.is_some(), "--experts"),
            (self.weights != WeightsName::Auto, "--weights"),
        ] {
            if given {
                let message = format!("{option}: {} is to be exported", self.source.display());
                return Err(Failure::usage(message).help("it belongs to `connector import`"));
            }
        }
        Ok(ExportOptions {
            format: self.from.clone(),
            model: self.model.clone(),
            plan: self.what.options(),
            engine: self.how.resources.engine(),
            max_shard_size: self.how.max_shard_size.bytes,
            device: self.how.resources.device,
            ..ExportOptions::default()
        })
    }
}

/// Which weights are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum WeightsName {
    Auto,
    Pytorch,
}

/// How experts are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ExpertNames {
    Local,
    Grouped,
}

/// Which tensors are converted.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct What {
    /// Cast floating-point tensors; auto keeps each one's own type
    #[arg(long, value_enum, default_value_t = Cast::Auto, help_heading = "What")]
    pub dtype: Cast,
    /// Leave out source tensors, `model.layers.*.rotary.inv_freq`; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub ignore: Vec<String>,
    /// Write only tensors that match, `decoder.layers.0.**`; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub only: Vec<String>,
    /// Keep a field of config.json that the importer does not know, and that has no effect on what
    /// the model computes; may be repeated
    #[arg(long, value_name = "FIELD", help_heading = "What")]
    pub carry: Vec<String>,
}

impl What {
    /// The library's options.
    pub fn options(&self) -> PlanOptions {
        let dtype = match self.dtype {
            Cast::Auto => None,
            Cast::Bf16 => Some(Dtype::Bf16),
            Cast::F16 => Some(Dtype::F16),
            Cast::F32 => Some(Dtype::F32),
        };
        let What { ignore, only, carry, .. } = self.clone();
        PlanOptions { dtype, ignore, only, carry }
    }
}

/// A type to cast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Cast {
    Auto,
    #[value(alias = "bfloat16")]
    Bf16,
    #[value(alias = "float16", alias = "half")]
    F16,
    #[value(alias = "float32", alias = "float")]
    F32,
}

/// How it is done.
#[derive(Debug, Args)]
pub(in crate::cli) struct How {
    /// The largest file of tensors
    #[arg(long, value_name = "SIZE", default_value = "5GB", help_heading = "How")]
    pub max_shard_size: Size,
    #[command(flatten)]
    pub resources: Resources,
}

/// How the result is written.
#[derive(Debug, Args)]
pub(in crate::cli) struct Publish {
    /// Replace the output if connector wrote it
    #[arg(long)]
    pub overwrite: bool,
    /// Record a blake3 hash of each tensor in conversion.json
    #[arg(long)]
    pub hash: bool,
    /// Do not wait until the disk has everything: as cp does. After a power cut soon after, the
    /// output may have holes
    #[arg(long, requires = "output")]
    pub no_sync: bool,
    /// Plan and check everything, write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A key pattern of a user. Parsed here only to point at mistakes.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    match Pattern::parse(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!("{error}; write for example `model.layers.*.mlp.**`")),
    }
}

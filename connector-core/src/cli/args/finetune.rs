//! `connector finetune` and `connector merge`.

use super::trained::OnBase;
use crate::cli::failure::Failure;
use crate::train::{AdamW, CosineAnnealing, FineTuningData, Lora, Precision, Trainer};
use crate::{Cancel, DeviceChoice};
use clap::{Args, ValueEnum, ValueHint, value_parser};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct FineTune {
    /// The model: a Hugging Face directory, hf://ORG/NAME[@REVISION], or an output of `import`
    #[arg(value_hint = ValueHint::DirPath)]
    pub source: PathBuf,
    /// Lines of {"input": …, "output": …} or {"text": …} in a .jsonl file, or one plain text
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath, help_heading = "Data")]
    pub data: PathBuf,
    /// Held out examples, as those of --data: their loss is computed, and nothing is learnt of them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath, help_heading = "Data")]
    pub val_data: Option<PathBuf>,
    /// Every how many steps; after the last one it is
    #[arg(
        long,
        value_name = "N",
        default_value = "50",
        requires = "val_data",
        help_heading = "Data"
    )]
    pub val_interval: u64,
    /// The most tokens in a row; examples are packed up to it
    #[arg(long, value_name = "N", default_value = "2048", help_heading = "Data")]
    pub seq_length: u32,
    /// How input and output become one text
    #[arg(long, value_name = "TEXT", default_value = "{input} {output}", help_heading = "Data")]
    pub prompt_template: String,
    /// Cut examples that are longer than --seq-length, instead of refusing them
    #[arg(long, help_heading = "Data")]
    pub truncate: bool,
    /// Train a low-rank adapter of this rank instead of all parameters
    #[arg(long, value_name = "RANK", value_parser = value_parser!(u32).range(1..), help_heading = "What is trained")]
    pub lora: Option<u32>,
    /// The adapter's scale, times its rank [default: the rank]
    #[arg(long, value_name = "X", requires = "lora", help_heading = "What is trained")]
    pub lora_alpha: Option<f64>,
    /// The projections that are adapted
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "lora",
        default_value = "linear_qkv,linear_proj,linear_fc1,linear_fc2",
        help_heading = "What is trained"
    )]
    pub lora_targets: Vec<String>,
    /// The steps of the whole run
    #[arg(long, value_name = "N", default_value = "100", help_heading = "How")]
    pub max_steps: u64,
    /// Rows of data that the model reads at once
    #[arg(long, value_name = "N", default_value = "1", help_heading = "How")]
    pub micro_batch_size: u32,
    /// How many times it reads before a step is made
    #[arg(long, value_name = "N", default_value = "1", help_heading = "How")]
    pub accumulate: u32,
    /// The largest learning rate
    #[arg(long, value_name = "X", default_value = "1e-4", help_heading = "How")]
    pub lr: f64,
    /// The learning rate at the end
    #[arg(long, value_name = "X", default_value = "0", help_heading = "How")]
    pub min_lr: f64,
    /// Steps in which the learning rate rises [default: 50, at most a tenth of all]
    #[arg(long, value_name = "N", help_heading = "How")]
    pub warmup_steps: Option<u64>,
    /// The part of a parameter that goes each step, times the learning rate
    #[arg(long, value_name = "X", default_value = "0.1", help_heading = "How")]
    pub weight_decay: f64,
    /// The types that are computed in
    #[arg(long, value_enum, default_value_t = Types::F32, help_heading = "How")]
    pub precision: Types,
    /// What the order of the data and the adapter's first values follow from
    #[arg(long, value_name = "N", default_value = "1234", help_heading = "How")]
    pub seed: u64,
    /// Where it is computed: cpu, cuda, cuda:N, metal
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "How")]
    pub device: DeviceChoice,
    /// Every how many steps a checkpoint is written; after the last one is
    #[arg(long, value_name = "N", default_value = "50", help_heading = "Output")]
    pub save_every: u64,
    /// The folder of the run. If it has a checkpoint, the run goes on from it, with the SOURCE that it
    /// began with
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Output")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Merge {
    /// The run that trained the adapter, or its checkpoint, RUN/checkpoints/default-last
    #[arg(value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    #[command(flatten)]
    pub on: OnBase,
    /// The new directory
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    /// Replace the output, if connector wrote it
    #[arg(long)]
    pub overwrite: bool,
}

/// The types that are computed in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Types {
    /// All in f32
    F32,
    /// Forward and backward in bf16, the rest in f32
    Bf16Mixed,
}

impl FineTune {
    pub fn data(&self) -> FineTuningData {
        FineTuningData {
            validation: self.val_data.clone(),
            seq_length: self.seq_length as usize,
            prompt_template: self.prompt_template.clone(),
            truncate: self.truncate,
            ..FineTuningData::new(&self.data)
        }
    }

    /// The library's options.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn trainer(&self) -> Result<Trainer, Failure> {
        let failed = |error| Failure::usage(format!("--device {}: {error}", self.device));
        self.device.open().map_err(failed)?;
        let FineTune { max_steps, lr, min_lr, weight_decay, seed, save_every, device, .. } = *self;
        let warmup_steps = self.warmup_steps.unwrap_or((max_steps / 10).min(50));
        let peft = self.lora.map(|dim| Lora {
            dim: dim as usize,
            alpha: self.lora_alpha.unwrap_or(f64::from(dim)),
            target_modules: self.lora_targets.clone(),
        });
        Ok(Trainer {
            max_steps,
            micro_batch_size: self.micro_batch_size as usize,
            accumulate_grad_batches: self.accumulate as usize,
            precision: match self.precision {
                Types::F32 => Precision::F32,
                Types::Bf16Mixed => Precision::Bf16Mixed,
            },
            optim: AdamW { weight_decay, ..AdamW::default() },
            lr_scheduler: CosineAnnealing { max_lr: lr, min_lr, warmup_steps },
            peft,
            seed,
            every_n_train_steps: save_every,
            val_check_interval: self.val_interval,
            device,
            cancel: Cancel::default(),
            ..Trainer::new(&self.output)
        })
    }
}

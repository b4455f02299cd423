//! How a model is trained.

use super::{AdamW, CosineAnnealing, Lora};
use crate::connector::CHECKPOINTS;
use crate::plan::{Finding, FindingKind};
use crate::{Cancel, DeviceChoice, Error, Result};
use candle_core::DType;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a model is trained: how long, in which steps, and where results go. NeMo's `Trainer`, with
/// what NeMo keeps in the logger, the optimizer and the callbacks beside it.
///
/// ```
/// use connector_core::train::{CosineAnnealing, Lora, Trainer};
///
/// let trainer = Trainer {
///     max_steps: 1000,
///     micro_batch_size: 2,
///     accumulate_grad_batches: 8,
///     lr_scheduler: CosineAnnealing { max_lr: 2e-4, ..CosineAnnealing::default() },
///     peft: Some(Lora { dim: 16, alpha: 32.0, ..Lora::default() }),
///     ..Trainer::new("runs/squad")
/// };
/// ```
#[derive(Clone, Debug)]
pub struct Trainer {
    /// The steps of the whole run, those of earlier runs that it goes on with counted in.
    pub max_steps: u64,
    /// How many rows of data the model reads at once.
    pub micro_batch_size: usize,
    /// How many times it reads before a step is made with all gradients together.
    pub accumulate_grad_batches: usize,
    /// The types that are computed in.
    pub precision: Precision,
    /// How a gradient becomes a step.
    pub optim: AdamW,
    /// The learning rate.
    pub lr_scheduler: CosineAnnealing,
    /// Trains a low-rank adapter instead of all parameters.
    pub peft: Option<Lora>,
    /// What the order of the data and the first values of an adapter follow from.
    pub seed: u64,
    /// Every how many steps a line is logged. The first and the last are.
    pub log_every_n_steps: u64,
    /// Every how many steps a checkpoint is written. After the last one is.
    pub every_n_train_steps: u64,
    /// Every how many steps the loss of the examples that are held out is computed, if there are
    /// [any](super::FineTuningData::validation). After the last one it is.
    pub val_check_interval: u64,
    /// The folder of the run. Its checkpoint is `checkpoints/NAME-last`, where
    /// [`AutoResume`](crate::AutoResume) looks; its log `NAME.jsonl`, its curve `NAME.svg`.
    pub log_dir: PathBuf,
    /// The name of the run.
    pub name: String,
    /// Where it computes.
    pub device: DeviceChoice,
    /// Stops the run after the step at hand, with a checkpoint.
    pub cancel: Cancel,
}

/// The most rows that are read at once, and the most times for one step: all of one step are held in
/// memory together.
const MOST_ROWS: usize = 1 << 16;

/// The types that are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Precision {
    /// All in f32.
    #[default]
    F32,
    /// Forward and backward in bf16, with f32 for what is trained, its gradients and its optimizer
    /// state: NeMo's `bf16-mixed`.
    Bf16Mixed,
}

impl Precision {
    /// The type of forward and backward.
    pub(super) fn compute(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16Mixed => DType::BF16,
        }
    }
}

impl Trainer {
    /// 100 steps of one row, with NeMo's optimizer for fine-tuning; a checkpoint every 50 steps,
    /// and a line for each.
    pub fn new(log_dir: impl Into<PathBuf>) -> Self {
        Trainer {
            max_steps: 100,
            micro_batch_size: 1,
            accumulate_grad_batches: 1,
            precision: Precision::default(),
            optim: AdamW::default(),
            lr_scheduler: CosineAnnealing::default(),
            peft: None,
            seed: 1234,
            log_every_n_steps: 1,
            every_n_train_steps: 50,
            val_check_interval: 50,
            log_dir: log_dir.into(),
            name: "default".into(),
            device: DeviceChoice::default(),
            cancel: Cancel::default(),
        }
    }

    /// The checkpoint that the run writes.
    pub fn checkpoint(&self) -> PathBuf {
        self.log_dir.join(CHECKPOINTS).join(format!("{}-last", self.name))
    }

    /// The lines that it logs.
    pub fn log(&self) -> PathBuf {
        self.log_dir.join(format!("{}.jsonl", self.name))
    }

    /// The picture of the loss.
    pub fn curve(&self) -> PathBuf {
        self.log_dir.join(format!("{}.svg", self.name))
    }

    /// Refuses settings that make no run, all at once.
    pub(super) fn check(&self) -> Result<()> {
        let mut findings = Vec::new();
        for (field, value) in [
            ("max_steps", self.max_steps),
            ("micro_batch_size", self.micro_batch_size as u64),
            ("accumulate_grad_batches", self.accumulate_grad_batches as u64),
            ("log_every_n_steps", self.log_every_n_steps),
            ("every_n_train_steps", self.every_n_train_steps),
            ("val_check_interval", self.val_check_interval),
        ] {
            if value == 0 {
                let problem = "is 0; it should be 1 or more";
                findings.push(Finding::new(FindingKind::Config, field, problem));
            }
        }
        for (field, value) in [
            ("micro_batch_size", self.micro_batch_size),
            ("accumulate_grad_batches", self.accumulate_grad_batches),
        ] {
            if value > MOST_ROWS {
                let problem = format!("is {value}; it should be {MOST_ROWS} at most");
                findings.push(Finding::new(FindingKind::Config, field, problem));
            }
        }
        if self.name.is_empty() || self.name.contains(['/', '\\']) || self.name.starts_with('.') {
            let problem = format!("is {:?}, which cannot begin the name of a file", self.name);
            findings.push(Finding::new(FindingKind::Config, "name", problem));
        }
        self.optim.check(&mut findings);
        self.lr_scheduler.check(self.max_steps, &mut findings);
        if let Some(lora) = &self.peft {
            lora.check(&mut findings);
        }
        if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_run_are_refused_together() {
        let trainer = Trainer {
            max_steps: 0,
            micro_batch_size: 0,
            name: "../x".into(),
            optim: AdamW { beta1: 1.0, ..AdamW::default() },
            peft: Some(Lora { dim: 0, ..Lora::default() }),
            ..Trainer::new("")
        };
        let text = trainer.check().unwrap_err().to_string();
        for want in [
            "max_steps: is 0",
            "micro_batch_size: is 0",
            "name: is \"../x\"",
            "beta1: is 1",
            "warmup_steps: is 50, more than max_steps, 0",
            "dim: is 0",
        ] {
            assert!(text.contains(want), "{want}: {text}");
        }
        let many = Trainer {
            micro_batch_size: usize::MAX,
            accumulate_grad_batches: 70_000,
            ..Trainer::new("")
        };
        let text = many.check().unwrap_err().to_string();
        assert!(text.contains("micro_batch_size: is 1844"), "{text}");
        assert!(text.contains("accumulate_grad_batches: is 70000; it should be 65536"), "{text}");
        assert!(Trainer::new("runs").check().is_ok());
    }
}

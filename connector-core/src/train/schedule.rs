//! The learning rate over the steps of a run.

use crate::plan::{Finding, FindingKind};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A linear warm-up, then half a cosine down to the least learning rate: NeMo's
/// `CosineAnnealingScheduler`.
///
/// For step t, counted from 0, of `max_steps`, with w = `warmup_steps` (`CosineAnnealing` and
/// `WarmupPolicy` in `nemo/core/optim/lr_scheduler.py`):
///
/// | steps | learning rate |
/// |---|---|
/// | t < w | `max_lr · (t + 1) / (w + 1)` |
/// | t ≥ w | `min_lr + (max_lr - min_lr) · (1 + cos(π · (t - w) / (max_steps - w))) / 2` |
///
/// ```
/// use connector_core::train::CosineAnnealing;
///
/// let schedule = CosineAnnealing { max_lr: 1e-4, min_lr: 1e-5, warmup_steps: 9 };
/// assert_eq!(schedule.at(0, 109), 1e-5);
/// assert_eq!(schedule.at(9, 109), 1e-4);
/// assert!((schedule.at(59, 109) - 5.5e-5).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CosineAnnealing {
    /// The learning rate after the warm-up.
    pub max_lr: f64,
    /// The learning rate at the end.
    pub min_lr: f64,
    /// How many steps the learning rate rises.
    pub warmup_steps: u64,
}

impl Default for CosineAnnealing {
    /// NeMo's default for fine-tuning: 1e-4 after 50 steps, down to 0.
    fn default() -> Self {
        CosineAnnealing { max_lr: 1e-4, min_lr: 0.0, warmup_steps: 50 }
    }
}

impl CosineAnnealing {
    /// The learning rate of step `step`, counted from 0.
    pub fn at(&self, step: u64, max_steps: u64) -> f64 {
        let CosineAnnealing { max_lr, min_lr, warmup_steps } = *self;
        if step < warmup_steps {
            return max_lr * (step + 1) as f64 / (warmup_steps + 1) as f64;
        }
        let length = max_steps.saturating_sub(warmup_steps);
        if step >= max_steps || length == 0 {
            return min_lr;
        }
        let passed = (step - warmup_steps) as f64 / length as f64;
        min_lr + (max_lr - min_lr) * (1.0 + (PI * passed).cos()) / 2.0
    }

    /// What makes no schedule.
    pub(super) fn check(&self, max_steps: u64, findings: &mut Vec<Finding>) {
        let mut refuse = |field: &str, problem: String| {
            findings.push(Finding::new(FindingKind::Config, field, problem));
        };
        if !(self.max_lr.is_finite() && self.max_lr > 0.0) {
            refuse("max_lr", format!("is {}; it should be above 0", self.max_lr));
        } else if !(0.0..=self.max_lr).contains(&self.min_lr) {
            refuse("min_lr", format!("is {}; it should be from 0 to max_lr", self.min_lr));
        }
        if self.warmup_steps > max_steps {
            let problem = format!("is {}, more than max_steps, {max_steps}", self.warmup_steps);
            refuse("warmup_steps", problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let schedule = CosineAnnealing { max_lr: 1.0, min_lr: 0.1, warmup_steps: 3 };
        for (step, want) in
            [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (8, 0.55), (13, 0.1), (99, 0.1)]
        {
            assert!((schedule.at(step, 13) - want).abs() < 1e-12, "{step}");
        }
        let flat = CosineAnnealing { max_lr: 0.5, min_lr: 0.5, warmup_steps: 0 };
        assert!((0..5).all(|step| flat.at(step, 5) == 0.5));
    }

    #[test]
    fn what_makes_no_schedule_is_refused() {
        for (max_lr, min_lr, warmup_steps, want) in [
            (0.0, 0.0, 0, "max_lr: is 0"),
            (f64::NAN, 0.0, 0, "max_lr: is NaN"),
            (1.0, 2.0, 0, "min_lr: is 2"),
            (1.0, -1.0, 0, "min_lr: is -1"),
            (1.0, 0.0, 11, "warmup_steps: is 11, more than max_steps, 10"),
        ] {
            let mut findings = Vec::new();
            CosineAnnealing { max_lr, min_lr, warmup_steps }.check(10, &mut findings);
            let text = findings.iter().map(ToString::to_string).collect::<String>();
            assert!(findings.len() == 1 && text.starts_with(want), "{text}");
        }
    }
}

//! What a run tells while it lasts: a line for each step, and a picture of the loss.

use crate::Result;
use crate::checkpoint::look;
use crate::store::{self, replace_file};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// What one step did: a line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepRecord {
    /// The step, counted from 1.
    pub step: u64,
    /// The mean over the tokens that are learnt of -log(probability), before the step. In nats.
    pub loss: f64,
    /// The same of the tokens that are held out, after the step, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// The learning rate.
    pub lr: f64,
    /// The norm of all gradients, before they were clipped.
    pub grad_norm: f64,
    /// How many rows of data were read, since the run's first step.
    pub consumed_samples: u64,
    /// How many tokens the model read in this step.
    pub tokens: u64,
    /// The time of the step, in seconds, without that of `val_loss`.
    pub seconds: f64,
    /// Of it, the time of the forward passes and the loss.
    pub forward_seconds: f64,
    /// Of it, the time of the backward passes.
    pub backward_seconds: f64,
    /// Of it, the time of clipping and the optimizer.
    pub optimizer_seconds: f64,
}

impl StepRecord {
    /// How many tokens the model read in a second.
    pub fn tokens_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens as f64 / self.seconds } else { 0.0 }
    }
}

/// The log of a run, lines of JSON.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    records: Vec<StepRecord>,
}

impl Log {
    /// The log at `path`, to go on after `step`: what an earlier run logged of later steps, before
    /// it was killed, is taken out. After step 0 it is empty.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io).
    pub fn open(path: PathBuf, step: u64) -> Result<Self> {
        let mut records = Vec::new();
        if look::exists(&path)? {
            look::check_file(&path)?;
            let text = fs::read(&path).map_err(store::Error::io("read", &path))?;
            // Its last line may be torn.
            records.extend(
                text.split(|&byte| byte == b'\n')
                    .filter_map(|line| serde_json::from_slice::<StepRecord>(line).ok()),
            );
        }
        records.retain(|record| record.step <= step);
        let text = records.iter().map(line).collect::<String>();
        replace_file(&path, text.as_bytes())?;
        let file =
            OpenOptions::new().append(true).open(&path).map_err(store::Error::io("open", &path))?;
        Ok(Log { path, file, records })
    }

    /// Adds a line.
    pub fn add(&mut self, record: StepRecord) -> Result<()> {
        let text = line(&record);
        self.file.write_all(text.as_bytes()).map_err(store::Error::io("write", &self.path))?;
        self.records.push(record);
        Ok(())
    }

    /// All lines.
    pub fn records(&self) -> &[StepRecord] {
        &self.records
    }
}

fn line(record: &StepRecord) -> String {
    // Numbers and nothing else: there is no way to fail.
    let json = serde_json::to_string(record).unwrap_or_default();
    format!("{json}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64) -> StepRecord {
        StepRecord {
            step,
            loss: 1.0 / step as f64,
            val_loss: step.is_multiple_of(2).then(|| 2.0 / step as f64),
            lr: 1e-4,
            grad_norm: 0.5,
            consumed_samples: 2 * step,
            tokens: 100,
            seconds: 0.25,
            forward_seconds: 0.1,
            backward_seconds: 0.1,
            optimizer_seconds: 0.05,
        }
    }

    #[test]
    fn a_log_goes_on_after_the_step_of_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.jsonl");
        let mut log = Log::open(path.clone(), 0).unwrap();
        (1..=5).for_each(|step| log.add(record(step)).unwrap());
        // Killed while it wrote.
        let torn = [&fs::read(&path).unwrap()[..], b"\xff\0\n{\"step\": 6, \"lo"].concat();
        fs::write(&path, torn).unwrap();

        let mut log = Log::open(path.clone(), 3).unwrap();
        log.add(record(4)).unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        let steps: Vec<StepRecord> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(steps, (1..=4).map(record).collect::<Vec<_>>());
        assert_eq!(log.records(), steps);
        assert_eq!(record(1).tokens_per_second(), 400.0);

        Log::open(path.clone(), 0).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

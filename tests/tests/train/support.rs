//! What the tests of training share.

use candle_core::{DType, Tensor};
use connector_core::model::{GPTModel, LoadOptions, Loaded};
use connector_core::store::Dtype;
use connector_core::train::{
    AdamW, CosineAnnealing, FineTuned, FineTuningData, StepRecord, Trainer, Watch, finetune,
    finetune_watched,
};
use connector_core::{AutoModel, AutoResume, Cancel, ImportOptions, Result, import_ckpt};
use connector_tests::fixture;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A folder with an imported fixture, some data, and room for runs.
pub struct Desk {
    pub dir: TempDir,
    pub base: PathBuf,
    pub data: FineTuningData,
}

const LINES: &str = r#"
{"input": "the sand", "output": "is on the sea."}
{"input": "we ride", "output": "to the same co."}
{"input": "or we are", "output": "in the night, in the same boat."}
{"text": "we mend the nets and we mend the boats."}
{"input": "A", "output": "mate."}
"#;

impl Desk {
    pub fn of(name: &str) -> Self {
        Self::cast(name, None)
    }

    /// The same, with weights in f32, whatever the fixture has.
    pub fn in_f32(name: &str) -> Self {
        Self::cast(name, Some(Dtype::F32))
    }

    fn cast(name: &str, dtype: Option<Dtype>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join(format!("{name}-nemo"));
        let mut options = ImportOptions::default();
        options.plan.dtype = dtype;
        import_ckpt(fixture(&format!("{name}/hf")), &base, options).unwrap();
        let path = dir.path().join("training.jsonl");
        fs::write(&path, LINES).unwrap();
        let data = FineTuningData { seq_length: 32, ..FineTuningData::new(path) };
        Desk { dir, base, data }
    }

    /// A trainer whose run is in the folder `name`.
    pub fn trainer(&self, name: &str) -> Trainer {
        Trainer {
            max_steps: 6,
            micro_batch_size: 2,
            every_n_train_steps: 2,
            optim: AdamW::default(),
            lr_scheduler: CosineAnnealing { max_lr: 1e-2, min_lr: 0.0, warmup_steps: 1 },
            ..Trainer::new(self.dir.path().join(name))
        }
    }

    /// Runs it, or goes on with it.
    pub fn run(&self, trainer: &Trainer) -> Result<FineTuned> {
        finetune::<AutoModel>(&self.data, trainer, &self.resume(trainer))
    }

    /// The same, but it is asked to stop during the step `step`.
    pub fn stop_after(&self, trainer: &Trainer, step: u64) -> Result<FineTuned> {
        let trainer = Trainer { cancel: Cancel::default(), ..trainer.clone() };
        let stop = StopAfter { step, cancel: trainer.cancel.clone() };
        finetune_watched::<AutoModel>(&self.data, &trainer, &self.resume(&trainer), &stop)
    }

    /// How many rows the data has.
    pub fn rows(&self) -> usize {
        let loaded = Loaded::open(&self.base, &LoadOptions::default()).unwrap();
        let end = loaded.stop_tokens().unwrap().first().copied();
        self.data.load(&loaded.tokenizer().unwrap(), end).unwrap().rows()
    }

    /// How far the logits of the checkpoint at `path` are from others.
    pub fn distance(&self, path: &Path, want: &[f32]) -> f32 {
        let mut options = LoadOptions::default();
        options.dtype = Some(DType::F32);
        let model = Loaded::open(path, &options).unwrap().model().unwrap();
        let apart = logits(&model).into_iter().zip(want).map(|(a, b)| (a - b).abs());
        apart.fold(0.0, f32::max)
    }

    /// From the last checkpoint of the run, else from the base.
    pub fn resume(&self, trainer: &Trainer) -> AutoResume {
        let last = trainer.checkpoint();
        let from = if last.exists() { last } else { self.base.clone() };
        AutoResume { resume_from_path: Some(from), ..AutoResume::default() }
    }
}

struct StopAfter {
    step: u64,
    cancel: Cancel,
}

impl Watch for StopAfter {
    fn stepped(&self, record: &StepRecord, _: Duration) {
        if record.step == self.step {
            self.cancel.cancel();
        }
    }
}

/// The logits of some tokens.
pub fn logits(model: &GPTModel) -> Vec<f32> {
    let tokens = Tensor::new(&[[1u32, 46, 51, 19, 61, 20, 2]], model.device()).unwrap();
    model.forward(&tokens).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The losses, to the bit.
pub fn losses(tuned: &FineTuned) -> Vec<u64> {
    tuned.records.iter().map(|record| record.loss.to_bits()).collect()
}

/// The names and bytes of all files below `dir`.
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    found.push((path.strip_prefix(dir).unwrap().into(), fs::read(path).unwrap()))
                }
            }
        }
    }
    found.sort();
    found
}

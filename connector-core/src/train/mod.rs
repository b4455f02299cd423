//! Fine-tuning: NeMo's `llm.finetune(model, data, trainer, resume)`.
//!
//! [`finetune`] takes the data ([`FineTuningData`]), how it is trained ([`Trainer`]), and what it
//! begins with ([`AutoResume`](crate::AutoResume)). All parameters are trained, or a low-rank
//! adapter ([`Lora`]).
//!
//! ```
//! use connector_core::train::{FineTuningData, Trainer, finetune};
//! use connector_core::{AutoModel, AutoResume, ImportOptions, import_ckpt};
//! # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
//! # let scratch = tempfile::tempdir()?;
//! # let dir = scratch.path();
//!
//! import_ckpt(fixture, dir.join("llama"), ImportOptions::default())?;
//! std::fs::write(dir.join("train.jsonl"), r#"{"input": "the sand is", "output": "on the sea."}"#)?;
//!
//! let data = FineTuningData { seq_length: 32, ..FineTuningData::new(dir.join("train.jsonl")) };
//! let mut trainer = Trainer { max_steps: 2, ..Trainer::new(dir.join("run")) };
//! trainer.lr_scheduler.warmup_steps = 0;
//! let resume = AutoResume { resume_from_path: Some(dir.join("llama")), ..AutoResume::default() };
//!
//! let tuned = finetune::<AutoModel>(&data, &trainer, &resume)?;
//! assert!(tuned.records[1].loss < tuned.records[0].loss);
//! assert!(tuned.checkpoint.join("weights/model.safetensors").is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A run
//!
//! A step reads [`accumulate_grad_batches`](Trainer::accumulate_grad_batches) times
//! [`micro_batch_size`](Trainer::micro_batch_size) rows, and follows the gradient of the mean loss
//! of all tokens that these learn, however they are spread over the micro-batches. Examples are
//! packed into rows; in attention none sees another. Of prompts no logits are computed.
//!
//! The checkpoint holds the weights, the optimizer's state and the position in the data. It is
//! written beside its place and exchanged for the one before, so that a run that is killed at any
//! moment goes on, and ends with the same losses and the same bytes as an unbroken one. It is a
//! checkpoint as [`import_ckpt`](crate::import_ckpt()) writes one:
//! [`export_ckpt`](crate::export_ckpt()) gives it back to Hugging Face. An adapter's holds the
//! adapter alone: see [`Adapted`]. Of two runs of one name in one folder, also in two processes, the
//! second is refused for as long as the first lasts.
//!
//! # What is not here
//!
//! Tensor, pipeline and data parallel training; dropout; f16, which needs the loss to be scaled;
//! the loss that keeps experts equally busy. The model is trained on one device.

mod adamw;
mod adapter;
mod checkpoint;
mod curve;
mod data;
mod finetune;
mod lock;
mod log;
mod lora;
mod loss;
mod peft;
mod random;
mod schedule;
mod trainer;

pub use crate::model::Lora;
pub use adamw::AdamW;
pub use adapter::Adapted;
pub use data::{Dataset, FineTuningData};
pub use finetune::{FineTuned, Trainee, Watch, finetune, finetune_watched};
pub use log::StepRecord;
pub use schedule::CosineAnnealing;
pub use trainer::{Precision, Trainer};

//! Fine-tuning.

mod adamw;
mod adapter;
mod checkpoint;
mod curve;
mod data;
mod finetune;
mod log;
mod lora;
mod loss;
mod peft;
mod random;
mod schedule;
mod trainer;

pub use adamw::AdamW;
pub use adapter::Adapted;
pub use data::{Dataset, FineTuningData};
pub use finetune::{FineTuned, Trainee, Watch, finetune, finetune_watched};
pub use log::StepRecord;
pub use lora::Lora;
pub use schedule::CosineAnnealing;
pub use trainer::{Precision, Trainer};

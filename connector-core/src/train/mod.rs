//! Fine-tuning.

mod adamw;
mod curve;
mod data;
mod log;
mod lora;
mod loss;
mod random;
mod schedule;
mod trainer;

pub use adamw::AdamW;
pub use data::{Dataset, FineTuningData};
pub use log::StepRecord;
pub use lora::Lora;
pub use schedule::CosineAnnealing;
pub use trainer::{Precision, Trainer};

//! Fine-tuning.

mod adamw;
mod data;
mod loss;
mod random;
mod schedule;

pub use adamw::AdamW;
pub use data::{Dataset, FineTuningData};
pub use schedule::CosineAnnealing;

//! Fine-tuning: it learns, it goes on where it was killed, what it writes is a checkpoint.

mod base;
mod full;
mod kill;
mod lock;
mod lora;
mod packed;
mod refusals;
mod support;
mod validation;

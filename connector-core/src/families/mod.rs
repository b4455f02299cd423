//! The model families: for each its schema, its importer and the translation of its config. No
//! I/O.

pub mod gpt;
mod llama;

pub use llama::{HfLlama, LlamaModel};

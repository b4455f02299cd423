//! The model families: for each its schema, its importer and the translation of its config. No
//! I/O.

mod gemma;
pub mod gpt;
mod llama;
mod mistral;
mod mixtral;

pub use gemma::{GemmaModel, HfGemma};
pub use llama::{HfLlama, LlamaModel};
pub use mistral::{HfMistral, MistralModel};
pub use mixtral::{HfMixtral, MixtralModel};

//! The model families: for each its schema, its importer and the translation of its config. No
//! I/O.

mod gemma;
mod llama;
mod mistral;
mod mixtral;
mod qwen2;
mod qwen3;
mod qwen3_moe;

pub use gemma::{GemmaModel, HfGemma};
pub use llama::{HfLlama, LlamaModel};
pub use mistral::{HfMistral, MistralModel};
pub use mixtral::{HfMixtral, MixtralModel};
pub use qwen2::{HfQwen2, Qwen2Model};
pub use qwen3::{HfQwen3, Qwen3Model};
pub use qwen3_moe::{HfQwen3Moe, Qwen3MoeModel};

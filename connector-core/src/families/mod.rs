//! The model families: for each its schema, its importer and the translation of its config. No
//! I/O.

mod gemma;
mod gemma2;
mod gemma3_text;
mod glm4_moe;
mod gpt_oss;
mod llama;
mod llama4_text;
mod mistral;
mod mixtral;
mod nemotron;
mod olmo2;
mod olmoe;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod starcoder2;

pub use gemma::{GemmaModel, HfGemma};
pub use gemma2::{Gemma2Model, HfGemma2};
pub use gemma3_text::{Gemma3Model, HfGemma3};
pub use glm4_moe::{Glm4MoeModel, HfGlm4Moe};
pub use gpt_oss::{GptOssModel, HfGptOss};
pub use llama::{HfLlama, LlamaModel};
pub use llama4_text::{HfLlama4, Llama4Model};
pub use mistral::{HfMistral, MistralModel};
pub use mixtral::{HfMixtral, MixtralModel};
pub use nemotron::{HfNemotron, NemotronModel};
pub use olmo2::{HfOlmo2, Olmo2Model};
pub use olmoe::{HfOlmoe, OlmoeModel};
pub use phi3::{HfPhi3, Phi3Model};
pub use qwen2::{HfQwen2, Qwen2Model};
pub use qwen2_moe::{HfQwen2Moe, Qwen2MoeModel};
pub use qwen3::{HfQwen3, Qwen3Model};
pub use qwen3_moe::{HfQwen3Moe, Qwen3MoeModel};
pub use starcoder2::{HfStarcoder2, Starcoder2Model};

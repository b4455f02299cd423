//! What the decoder-only families share: Megatron-core's config, the rows of the mappings, and how
//! `config.json` says what the config says.

mod config;
mod hub;
mod rope;
mod rows;
mod sparse;
mod window;

pub(crate) use config::{ELSEWHERE, is_of_experts};
pub use config::{GptConfig, vocab_divisor};
pub use hub::{CORE, MIXTURE, NO_WINDOW, ROPE, SHARED, SILU, WINDOW, head_size, part};
pub use rope::{RopeScaling, rope};
pub use rows::{
    ATTENTION, ATTENTION_BIASES, ENDS, EXPERTS, GATED_MLP, MLP_BIASES, QK_NORMS, QKV_BIASES,
};

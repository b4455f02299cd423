//! What the decoder-only families share: Megatron-core's config, the rows of the mappings, and how
//! `config.json` says what the config says.

mod blocks;
mod config;
mod hub;
mod rope;
mod sparse;
mod window;

pub use blocks::{
    ATTENTION, ATTENTION_BIASES, ENDS, EXPERTS, GATED_MLP, MLP_BIASES, QK_NORMS, QKV_BIASES,
};
pub(crate) use config::{ELSEWHERE, is_of_experts};
pub use config::{GptConfig, vocab_divisor};
pub use hub::{CORE, MIXTURE, NO_WINDOW, ROPE, SHARED, SILU, WINDOW, part};
pub use rope::{RopeScaling, rope};

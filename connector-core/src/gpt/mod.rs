//! What the decoder-only families share: Megatron-core's config, the rows of the mappings, and how
//! `config.json` says what the config says.

mod config;
mod hub;
mod layers;
mod misfits;
mod rope;
mod rotation;
mod routing;
mod rows;
mod sparse;
mod window;

pub(crate) use config::{ELSEWHERE, is_of_experts};
pub use config::{GptConfig, Temperature, vocab_divisor};
pub use hub::{
    ACTIVATION, CORE, EXPERT_GROUPS, FIRST_DENSE, MIXTURE, MOE_LAYERS, NO_WINDOW, ONE,
    PARTIAL_ROPE, PRE_ATTENTION_SCALAR, ROPE, ROPE_SAID, ROPELESS_LAYERS, ROUTED, SHARED,
    SHARED_EXPERTS, SILU, SIZES, TEMPERATURE, TWO_ROPES, WINDOW, WINDOWS, part,
};
pub use rope::{RopeScaling, Yarn, rope};
pub use rows::{
    ATTENTION, ATTENTION_BIASES, ATTENTION_PROJECTIONS, ENDS, EXPERTS, FOUR_NORMS, GATED_MLP,
    GATED_PROJECTIONS, MLP_BIASES, NORM_BIASES, QK_NORMS, QKV_BIASES,
};

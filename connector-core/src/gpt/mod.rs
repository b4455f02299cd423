//! What the decoder-only families share: Megatron-core's config, the rows of the mappings, and how
//! `config.json` says what the config says.

mod blocks;
mod config;
mod hub;
mod layers;
mod longrope;
mod misfits;
mod partial;
mod rope;
mod rotation;
mod routing;
mod sparse;
mod window;

pub use blocks::{
    ATTENTION, ATTENTION_BIASES, ATTENTION_PROJECTIONS, ENDS, EXPERTS, FOUR_NORMS, GATED_MLP,
    GATED_PROJECTIONS, MIXTRAL_EXPERTS, MLP_BIASES, NORM_BIASES, PLAIN_MLP, QK_NORMS, QKV_BIASES,
    SHARED_EXPERT,
};
pub(crate) use config::{ELSEWHERE, is_of_experts};
pub use config::{GptConfig, MOST_LAYERS, Temperature, vocab_divisor};
pub use hub::{
    ACTIVATION, CHUNKED_LAYERS, CORE, EXPERT_GROUPS, FACTOR, FIRST_DENSE, LONG_ROPE, MIXTURE,
    MOE_LAYERS, NO_WINDOW, ONE, PARTIAL_ROPE, PRE_ATTENTION_SCALAR, ROPE, ROPE_SAID,
    ROPELESS_LAYERS, ROTARY_DIM, ROTATED_WINDOWS, ROUTED, SEVERAL, SHARED, SHARED_EXPERTS, SILU,
    SIZES, TEMPERATURE, TEMPERED_ROPE, TWO_ROPES, WINDOW, WINDOWS, head_size, part,
};
pub use longrope::Longrope;
pub use rope::{RopeScaling, Yarn, rope};

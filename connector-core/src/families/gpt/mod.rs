//! What the decoder-only families share: Megatron's config, the rows of the mappings, and the
//! translation of `config.json` both ways.

mod config;
mod family;
mod rope;
mod rows;
mod window;

pub use config::{GptConfig, vocab_divisor};
pub use family::{Defaults, Family, silu};
pub use rope::{RopeScaling, rope};
pub use rows::{ATTENTION, ATTENTION_BIASES, ENDS, GATED_MLP, MLP_BIASES};
pub use window::{full_attention, sliding_window, window};

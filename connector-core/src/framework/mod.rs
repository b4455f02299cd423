//! What frameworks for training write around the tensors of a checkpoint, and read of it: NeMo,
//! Megatron-LM, Megatron-Bridge.
//!
//! ```text
//! nemo         context/io.json and context/model.yaml
//! megatron_lm  args in common.pt
//! bridge       run_config.yaml
//! ```
//!
//! What is written is made from the model's config, by the table of its fields, in the names of
//! Megatron-core (`megatron_core`), and from what each family says of itself ([`Frameworks`]). What is read
//! goes the same way back (`translate`); of which model it is, the families that are linked in tell
//! (`found`). The directory of the tokenizer, or `context/`, also has `model.yaml` as connector
//! writes it and all other files of the source, so that no checkpoint needs the original to be
//! exported.

mod activation;
mod bridge;
mod common;
mod fiddle;
mod found;
mod megatron_core;
mod megatron_lm;
mod names;
mod nemo;
mod python;
mod surroundings;
#[cfg(test)]
mod tests;
mod translate;
mod unsaid;
mod without_effect;

pub(crate) use found::{Candidate, describe};
pub(crate) use names::NemoNames;
pub use names::{Frameworks, NemoValue, Otherwise, OwnField};
#[cfg(feature = "train")]
pub(crate) use surroundings::model_yaml;
pub(crate) use surroundings::{Described, Surroundings};
pub use unsaid::Unsaid;

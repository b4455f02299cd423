//! Checkpoints on disk: the containers that hold tensors, and the directories around them.

mod directory;
mod fields;
mod nemo;
pub mod safetensors;
mod sidecar;
mod small;

pub use directory::Checkpoint;
pub use fields::{FieldReport, Fields};
pub(crate) use fields::{changes_behaviour, is_off, shown};
pub use nemo::NemoCheckpoint;
pub(crate) use nemo::{CONFIG_JSON, CONTEXT, MODEL_YAML, WEIGHTS};
#[cfg(feature = "hub")]
pub(crate) use sidecar::holds_weights;
pub(crate) use sidecar::{copy_sidecars, is_tokenizer, sidecars};

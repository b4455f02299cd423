//! Checkpoints on disk: the containers that hold tensors, and the directories around them.

mod directory;
mod fields;
pub mod safetensors;
mod sidecar;

pub use directory::Checkpoint;
pub(crate) use fields::read_config;
pub use fields::{FieldReport, Fields};
pub(crate) use sidecar::copy_sidecars;

//! Checkpoints on disk: the containers that hold tensors, and the directories around them.

mod directory;
mod fields;
pub mod safetensors;
mod sidecar;

pub use directory::Checkpoint;
pub use fields::{FieldReport, Fields};
pub(crate) use fields::{changes_behaviour, is_off, shown};
pub(crate) use sidecar::copy_sidecars;

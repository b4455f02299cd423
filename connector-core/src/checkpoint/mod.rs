//! Checkpoints on disk: the containers that hold tensors, and the directories around them.

mod container;
mod directory;
mod fields;
mod flavor;
mod nemo;
mod nemo_yaml;
pub mod safetensors;
mod sidecar;
mod small;
mod tensors;
pub mod torch;
pub mod torch_dist;

pub use container::Container;
pub(crate) use container::Layout;
pub use directory::Checkpoint;
pub use fields::{FieldReport, Fields};
pub(crate) use fields::{changes_behaviour, is_off, shown};
pub(crate) use flavor::{Described, Home, Surroundings};
pub use flavor::{Flavor, Frameworks, NemoNames};
pub use nemo::NemoCheckpoint;
pub(crate) use nemo::{CONFIG_JSON, CONTEXT, IO_JSON, MODEL_YAML, WEIGHTS};
#[cfg(feature = "hub")]
pub(crate) use sidecar::holds_weights;
pub(crate) use sidecar::{copy_sidecars, is_tokenizer, sidecars};
pub use tensors::Tensors;

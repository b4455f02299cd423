//! Checkpoints on disk: the containers that hold tensors, and the directories around them.

mod checksums;
mod container;
mod error;
mod fields;
pub mod files;
mod flavor;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod hf;
pub(crate) mod look;
mod megatron;
pub mod safetensors;
mod sidecar;
mod small;
mod tensors;
pub mod torch;
pub mod torch_dist;
pub mod torch_save;
mod without_effect;

pub(crate) use checksums::Checking;
pub use checksums::{Checked, Damage};
pub use container::Container;
pub(crate) use container::Layout;
pub use error::{Error, Result};
pub(crate) use fields::shown;
pub use fields::{FieldReport, Fields};
pub(crate) use files::Form;
pub use flavor::Flavor;
pub(crate) use flavor::{Directory, Home, TRACKER};
pub use hf::HfCheckpoint;
#[cfg(feature = "cli")]
pub(crate) use hf::Snapshot;
pub(crate) use hf::hub_revision;
pub use megatron::MegatronCheckpoint;
pub(crate) use megatron::{CONFIG_JSON, CONTEXT, IO_JSON, MODEL_YAML, WEIGHTS};
#[cfg(feature = "hub")]
pub(crate) use sidecar::holds_weights;
pub(crate) use sidecar::{Sidecar, Sidecars, is_tokenizer};
pub(crate) use small::Small;
pub use tensors::Tensors;
pub use without_effect::WITHOUT_EFFECT;

/// The form in which Hugging Face's directories at `path` have their weights: safetensors, or where
/// there are none but a `pytorch_model.bin`, that, as transformers does.
///
/// # Errors
/// If the system refuses to look.
pub(crate) fn form_at(path: &std::path::Path) -> Result<&'static Form> {
    let is_pickled = !safetensors::FORM.is_at(path)? && torch_save::FORM.is_at(path)?;
    Ok(if is_pickled { &torch_save::FORM } else { &safetensors::FORM })
}

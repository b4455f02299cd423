//! The ground: what every floor uses and what uses none of them.

mod advice;
pub(crate) mod blocks;
mod cancel;
mod device;
mod dtype;
mod error;
mod finding;
mod group;
pub(crate) mod json;
mod location;
mod options;
pub(crate) mod panics;
pub(crate) mod parallel;
mod progress;
pub(crate) mod stage;
mod tensor;

pub use advice::Advice;
pub use cancel::Cancel;
pub use device::DeviceChoice;
pub use dtype::Dtype;
pub use error::{Cancelled, CandleError, WorkerPanicked};
pub use finding::{Finding, FindingKind, Refusal};
pub use group::{KeyGroup, group_keys, natural_order};
pub(crate) use group::{indices_as, natural_segments};
pub use location::Location;
pub(crate) use options::options;
pub use progress::{NoProgress, Progress};
pub use tensor::{Encoding, FileId, Piece, Pieces, Rows, Run, TensorInfo};

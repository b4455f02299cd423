//! What the engine asks of a place where tensors lie: a [`Source`] to read from, a [`Sink`] to
//! write to, and a [`Staging`] directory that is published whole or not at all.

mod allocate;
mod dtype;
mod lock;
mod part;
mod place;
pub(crate) mod positioned;
mod publish;
mod removal;
mod sink;
mod source;
mod staging;
mod sync;
mod tensor;

pub(crate) use allocate::allocate;
#[cfg(any(feature = "hub", feature = "train"))]
pub(crate) use lock::Lock;
pub(crate) use lock::POLL;
pub(crate) use part::{Landing, file_count, landings, room};
#[cfg(any(feature = "hub", feature = "train"))]
pub(crate) use place::Place;
pub(crate) use publish::CONVERSION_JSON;
#[cfg(feature = "train")]
pub(crate) use publish::TRAINING_JSON;
pub(crate) use removal::{clear_up, remove_output, unfinished};

pub use dtype::Dtype;
pub use part::Part;
pub use place::{available_space, check_separate};
pub(crate) use sink::OUTSIDE;
pub use sink::Sink;
pub use source::Source;
pub use staging::{Overwrite, Staging};
pub use tensor::{Encoding, FileId, Piece, Pieces, Rows, Run, TensorInfo};

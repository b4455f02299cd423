//! What the engine asks of a place where tensors lie: a [`Source`] to read from, a sink to
//! write to, and a staging directory that is published whole or not at all.

mod allocate;
mod checksum;
mod close;
mod error;
pub(crate) mod failpoint;
#[cfg(any(feature = "cli", feature = "train", test))]
mod file;
mod lock;
mod owner;
mod part;
mod place;
pub(crate) mod positioned;
mod publish;
mod read;
mod removal;
mod sink;
mod source;
mod staging;
mod stamp;
mod sync;

pub(crate) use allocate::allocate;
pub(crate) use close::{close, write_new};
#[cfg(feature = "train")]
pub(crate) use file::replace_file;
#[cfg(feature = "cli")]
pub(crate) use file::{check_file, write_file};
#[cfg(any(feature = "hub", feature = "train"))]
pub(crate) use lock::Lock;
pub(crate) use lock::POLL;
pub(crate) use part::{Landing, file_count, landings, room};
#[cfg(any(feature = "hub", feature = "train"))]
pub(crate) use place::Place;
pub(crate) use publish::CONVERSION_JSON;
#[cfg(feature = "candle")]
pub(crate) use publish::TRAINING_JSON;
pub(crate) use read::{read_elements, read_tensor};
pub(crate) use removal::{clear_up, is_left, remove_output, tidy, unfinished};
pub(crate) use stamp::{Stamp, check_at, settled};

pub use crate::base::{Dtype, Encoding, FileId, Piece, Pieces, Rows, Run, TensorInfo};
pub use checksum::Checksum;
pub use error::{Error, Result};
pub(crate) use part::Part;
pub use place::available_space;
pub(crate) use place::check_separate;
pub(crate) use sink::OUTSIDE;
pub(crate) use sink::Sink;
pub use source::Source;
pub use staging::Overwrite;
pub(crate) use staging::Staging;
#[cfg(any(feature = "hub", feature = "train"))]
pub(crate) use sync::sync_dir;

//! The safetensors container: one file or a set of shards with an index.
//!
//! A file is
//!
//! ```text
//! ┌─────────────┬──────────────────────────────┬─────────────────────────────┐
//! │ N: u64, LE  │ N bytes of JSON              │ the tensors' bytes          │
//! └─────────────┴──────────────────────────────┴─────────────────────────────┘
//!  0             8                              8 + N
//! ```
//!
//! The JSON is an object that gives each tensor its `dtype`, `shape` and `data_offsets`, which
//! count from `8 + N`; the key `__metadata__` holds a map of strings instead. The tensors tile the
//! rest of the file: no overlap, no hole, nothing behind the last one.
//!
//! [`Reader`] reads headers by position and trusts none of them; [`Layout`] computes the bytes
//! that surround the tensors, and [`Writer`] puts them on disk.

mod found;
mod header;
mod header_error;
mod index;
mod json;
mod layout;
mod open_error;
mod problem;
mod reader;
mod rules;
mod shards;
mod writer;

pub use found::Found;
pub use header::{Header, HeaderTensor, read_header};
pub use header_error::{HeaderError, HeaderErrorKind};
pub use layout::{Layout, LayoutError, OutputTensor, Placement, ShardFile};
pub use open_error::{OpenError, OpenErrorKind};
pub use problem::Problem;
pub use reader::Reader;
pub use rules::InvalidTensor;
pub(super) use rules::shown;
pub(crate) use shards::missing_files;
#[cfg(feature = "hub")]
pub(crate) use shards::{weight_files, weight_files_of};
pub use writer::Writer;

/// The longest header, as the safetensors crate has it.
const MAX_HEADER: u64 = 100_000_000;

/// The key of a header that is no tensor.
const METADATA: &str = "__metadata__";

/// The file of a checkpoint that fits in one.
pub(crate) const SINGLE: &str = "model.safetensors";

/// The file that says which tensor is in which shard.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

#[cfg(test)]
mod round_trip;

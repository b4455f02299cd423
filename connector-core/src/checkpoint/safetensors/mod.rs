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
//! [`Reader`] reads headers by position and trusts none of them. A layout has the bytes that surround
//! the tensors before the first is written.

pub(crate) mod header;
mod header_error;
mod json;
mod layout;
mod reader;
mod rules;
mod writer;

pub(crate) use header::{Header, HeaderTensor};
pub use header_error::{HeaderError, HeaderErrorKind};
pub use layout::LayoutError;
use layout::ShardFile;
pub(crate) use layout::{Layout, OutputTensor};
pub use reader::Reader;
pub use rules::InvalidTensor;
pub(super) use rules::{most_tensors, shown};
pub(crate) use writer::Writer;

use super::files::{self, Form};

/// What is wrong with a set of safetensors files.
pub type Problem = files::Problem<HeaderError>;

/// The longest header, as the safetensors crate has it.
pub(super) const MAX_HEADER: u64 = 100_000_000;

/// The key of a header that is no tensor.
const METADATA: &str = "__metadata__";

/// How the files are called.
pub(crate) const FORM: Form = Form {
    extensions: &["safetensors"],
    single: "model.safetensors",
    index: "model.safetensors.index.json",
    shard: "model-",
    any_name: true,
};

#[cfg(test)]
mod round_trip;

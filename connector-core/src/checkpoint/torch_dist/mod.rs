//! The torch_dist container: PyTorch's distributed checkpoints, as Megatron-core writes them.
//!
//! A directory is
//!
//! ```text
//! weights/
//!   metadata.json    {"sharded_backend": "torch_dist", …}: what makes it such a checkpoint
//!   .metadata        a pickle: of each tensor its shape, its type and its pieces, and of each
//!                    piece the file, the first byte and the number of bytes of its record
//!   __0_0.distcp     the records one behind the other, each a zip archive with one piece
//!   __0_1.distcp
//!   common.pt        what is the same on all ranks: the kind of layout, versions
//! ```
//!
//! Megatron-core puts the layers of a model on top of each other, and the experts of a layer:
//!
//! ```text
//! decoder.layers.mlp.linear_fc1.weight        [layers, 2 ffn, hidden]
//!   ┌───────────┬───────────┬──── layers
//!   │ gate of 0 │ gate of 1 │            every box is a piece with a record of its own; training
//!   ├───────────┼───────────┤            on several ranks cuts them smaller
//!   │ up of 0   │ up of 1   │
//!   └───────────┴───────────┘
//! ```
//!
//! [`Reader`] checks that the pieces of a tensor tile it and gives the parameters of each layer and
//! expert the names that they have in the model, `decoder.layers.0.mlp.linear_fc1.weight`.

#[cfg(test)]
mod chunkings;
mod common;
mod error;
mod layout;
mod metadata;
mod names;
mod reader;
mod record;
mod stack;
mod tiling;
mod writer;

pub(crate) use common::{Arguments, arguments};
pub use error::{Malformed, Problem};
pub(crate) use layout::Layout;
pub use layout::LayoutError;
pub(crate) use names::{canonical, grouped};
pub use reader::Reader;
pub use stack::StackError;
pub(crate) use writer::Writer;

/// The pickle that says what lies where.
const METADATA: &str = ".metadata";
/// What is the same on all ranks.
const COMMON: &str = "common.pt";
/// The file that makes a directory a distributed checkpoint of Megatron-core.
const METADATA_JSON: &str = "metadata.json";

/// Reads bytes as the pickles of such a checkpoint.
#[cfg(any(fuzzing, test))]
pub(super) fn fuzz_pickle(bytes: &[u8]) {
    drop(metadata::read(bytes, names::is_parameter));
    drop(metadata::object(bytes, "common_state/shard_0_1"));
    drop(common::namespace(bytes));
}

/// Reads an archive as the record of a tensor.
#[cfg(any(fuzzing, test))]
pub(super) fn fuzz_record(file: &std::fs::File, range: std::ops::Range<u64>) {
    for dtype in [crate::store::Dtype::F32, crate::store::Dtype::Bf16] {
        drop(record::locate(file, range.clone(), dtype, &[1, 2, 2]));
    }
}

/// How the layers of a model are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerLayout {
    /// On top of each other, in one tensor for all: what every framework writes and takes.
    #[default]
    Stacked,
    /// Each by itself: for models whose layers differ. Experts are on top of each other all the
    /// same.
    PerLayer,
}

/// How a checkpoint is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DistOptions {
    /// How the layers are stored.
    pub layers: LayerLayout,
    /// Whether `linear_fc1` is two halves on top of each other, which then are pieces of their own,
    /// as Megatron-core writes them.
    pub gated: bool,
    /// What comes before the model's own names: NeMo's `module.`.
    pub prefix: &'static str,
    /// The number of files, if there are as many records; 0 is 1.
    pub files: usize,
    /// The bytes of `common.pt`.
    pub common: Vec<u8>,
}

/// Whether the directory `path` holds such a checkpoint.
///
/// # Errors
/// If the system refuses to look.
pub(crate) fn is_at(path: &std::path::Path) -> crate::store::Result<bool> {
    super::look::is_file(&path.join(METADATA))
}

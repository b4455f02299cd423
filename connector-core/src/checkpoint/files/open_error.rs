use super::Found;
use std::io;
use std::path::{Path, PathBuf};

/// A path is no checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct OpenError {
    /// The path that was asked for, or the file in it that is at fault.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: OpenErrorKind,
}

/// Why a path is no checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// Nothing is there.
    #[error("does not exist")]
    Missing,
    /// Neither a file of tensors nor a directory with one.
    #[error("no checkpoint of safetensors or `pytorch_model.bin`: {0}")]
    NoCheckpoint(Found),
    /// The index is not JSON, or lacks a `weight_map` of strings.
    #[error("the index is not readable: {reason}")]
    Index {
        /// What the JSON parser says.
        reason: String,
    },
    /// The index lists no tensor.
    #[error("the `weight_map` of the index is empty")]
    EmptyIndex,
    /// The system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done: "read", "open".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenErrorKind {
    pub(super) fn at(self, path: impl AsRef<Path>) -> OpenError {
        OpenError { path: path.as_ref().into(), kind: self }
    }
}

impl OpenError {
    /// For `map_err`: the error of `action` on `path`.
    pub(in crate::checkpoint) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| OpenErrorKind::Io { action, source }.at(path)
    }
}

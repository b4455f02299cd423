use crate::base::Advice;
use std::io;
use std::path::{Path, PathBuf};

/// The result of what is done to files.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file cannot be read, or an output not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read, write or rename a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "create", "rename".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that is no file, where only a file can be read.
    #[error("{} is {what}, where a file should be", path.display())]
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is: "a pipe", "a device".
        what: &'static str,
    },
    /// A file of the source changed while it was converted.
    #[error("{} changed while it was read; nothing was written, try again when it is complete", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// The path cannot be that of an output.
    #[error("`{}` cannot be the output: {reason}", path.display())]
    InvalidOutput {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The output exists, and nobody asked to replace it.
    #[error("{} already exists; {}", path.display(), Advice::ReplaceOutput)]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The output exists and is nothing that may be replaced, even on request.
    #[error("{} is not replaced: {reason}; {}", path.display(), Advice::OtherOutput)]
    NotReplaceable {
        /// The output.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
    /// The output is the source, lies inside it, or holds it.
    #[error(
        "the output {} and the source {} overlap; {}",
        output.display(), input.display(), Advice::OutputApart
    )]
    NotSeparate {
        /// The source.
        input: PathBuf,
        /// The output.
        output: PathBuf,
    },
    /// Another run is writing the same output.
    #[error("another process{} is writing {}", owner.as_ref().map(|o| format!(" ({o})")).unwrap_or_default(), path.display())]
    Locked {
        /// The output.
        path: PathBuf,
        /// The process, `pid 17 on host`, if it could be found out.
        owner: Option<String>,
    },
}

impl Error {
    /// What can be done about it.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Error::OutputExists { .. } => Some(Advice::ReplaceOutput),
            Error::NotReplaceable { .. } => Some(Advice::OtherOutput),
            Error::NotSeparate { .. } => Some(Advice::OutputApart),
            _ => None,
        }
    }

    /// For `map_err`: the error of `action` on `path`.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io { action, path: path.as_ref().into(), source }
    }
}

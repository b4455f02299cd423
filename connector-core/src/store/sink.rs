use super::FileId;
use crate::Error;
use std::fs::File;

/// A checkpoint being written: its files and their lengths are known before the first write.
pub trait Sink: Send + Sync {
    /// Whether writes may come in any order. Local files can; object stores take a file's bytes
    /// from first to last only.
    fn is_random_access(&self) -> bool;

    /// Writes `bytes` at `offset` of a file.
    ///
    /// # Errors
    /// [`Error::Io`] with the file's path.
    fn write_at(&self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Waits until the disk has what was written to a file so far. Called while more is written.
    ///
    /// # Errors
    /// [`Error::Io`] with the file's path; some data may then not be on the disk.
    fn sync(&self, file: FileId) -> Result<(), Error>;

    /// The open file, if it is a local one: lets the kernel copy from file to file.
    fn local_file(&self, file: FileId) -> Option<&File>;
}

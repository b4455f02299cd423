use super::FileId;
use crate::store::Error;
use std::fs::File;
use std::path::PathBuf;

/// What is wrong with a write that would destroy a header or lengthen a file.
pub(crate) const OUTSIDE: &str = "outside of the tensors' bytes";

/// A checkpoint being written: its files and their lengths are known before the first write.
pub(crate) trait Sink: Send + Sync {
    /// The path of a file, for messages.
    fn path(&self, file: FileId) -> PathBuf;

    /// Takes note of `bytes` that the caller writes at `offset` of a [`local_file`](Sink::local_file)
    /// by itself, before it does, or refuses them. What the kernel copies, nobody sees: it is not
    /// told of.
    ///
    /// # Errors
    /// [`Error::Io`] with the file's path, if they lie outside of the tensors' bytes.
    fn admit(&self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Writes `bytes` at `offset` of a file.
    ///
    /// # Errors
    /// [`Error::Io`] with the file's path, also if they lie outside of the tensors' bytes.
    fn write_at(&self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Waits until the disk has what was written to a file so far. Called while more is written.
    ///
    /// # Errors
    /// [`Error::Io`] with the file's path; some data may then not be on the disk.
    fn sync(&self, file: FileId) -> Result<(), Error>;

    /// The open file, if it is a local one: lets the kernel copy from file to file, and the disk be
    /// written past the system's cache.
    fn local_file(&self, file: FileId) -> Option<&File>;
}

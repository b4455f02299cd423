use super::{Checksum, FileId, TensorInfo};
use crate::store::Error;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// A checkpoint to read: its tensors are known, their bytes are read by position.
///
/// Implementations never map whole files and never write.
pub trait Source: Send + Sync {
    /// The tensors. Names are unique.
    fn tensors(&self) -> &[TensorInfo];

    /// How many files there are. A piece of a tensor may have a greater number: a view of a file, in
    /// which elements that lie apart are one behind the other. It is read like a file, has the
    /// [`path`](Source::path) of the one it shows, and no [`local_file`](Source::local_file).
    fn file_count(&self) -> usize;

    /// The file that a view shows; of a file itself.
    fn shown(&self, file: FileId) -> FileId {
        file
    }

    /// The path of a file, for messages and `explain`.
    fn path(&self, file: FileId) -> &Path;

    /// The length of a file in bytes.
    fn file_len(&self, file: FileId) -> u64;

    /// The bytes that say what a file holds: the header of a safetensors file, the `.metadata` of a
    /// distributed checkpoint. Their hash is in `conversion.json`.
    ///
    /// # Errors
    /// As [`read_at`](Source::read_at).
    fn description(&self, file: FileId) -> Result<Vec<u8>, Error>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Io`] with the file's path, also if the file ends before the buffer is full.
    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;

    /// Passes if no file has changed since it was opened, as far as the system tells: a copy of a
    /// file that was written to meanwhile is a mixture that never existed.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] with the first file that has.
    fn check_unchanged(&self) -> Result<(), Error>;

    /// The open file, if it is a local one: lets the kernel copy from file to file, and the disk be
    /// read past the system's cache.
    fn local_file(&self, file: FileId) -> Option<&File>;

    /// The bytes that may have been written with checksums, in the order of the files and apart from
    /// each other; none where a container has no place for checksums.
    fn checksums(&self) -> &[Checksum] {
        &[]
    }

    /// Takes note of what the caller read from a [`local_file`](Source::local_file) by itself: of the
    /// bytes at `range`, or `None` if the kernel copied them and nobody saw them.
    fn note(&self, _file: FileId, _range: Range<u64>, _bytes: Option<&[u8]>) {}
}

use crate::store::positioned::read_exact_at;
use crate::store::{Error, Result, Stamp, check_at};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file of a checkpoint, open for as long as it is read.
#[derive(Debug)]
pub(in crate::checkpoint) struct OpenFile {
    pub file: File,
    pub path: PathBuf,
    pub len: u64,
    /// What it was when it was opened.
    stamp: Stamp,
}

/// What there was to open.
pub(in crate::checkpoint) enum Opened {
    File(OpenFile),
    /// A directory, a pipe.
    NotAFile,
    Absent,
}

impl OpenFile {
    /// Opens what is at `path`, if it is a file.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn open(path: &Path) -> io::Result<Opened> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => return Ok(Opened::NotAFile),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Opened::Absent),
            Err(error) => return Err(error),
        }
        OpenFile::new(File::open(path)?, path.into()).map(Opened::File)
    }

    /// The file at `path`, which is open already.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(file: File, path: PathBuf) -> io::Result<Self> {
        let stamp = Stamp::of(&file.metadata()?);
        Ok(OpenFile { file, path, len: stamp.len, stamp })
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Io`], also if the file ends before the buffer is full.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        read_exact_at(&self.file, buffer, offset).map_err(Error::io("read", &self.path))
    }

    /// Passes if it has not changed since it was opened, and is still what its path leads to.
    ///
    /// # Errors
    /// [`Error::SourceChanged`], [`Error::Io`].
    pub fn check_unchanged(&self) -> Result<()> {
        let now = self.file.metadata().map_err(Error::io("read", &self.path))?;
        if Stamp::of(&now) != self.stamp {
            return Err(Error::SourceChanged { path: self.path.clone() });
        }
        check_at(&self.path, &self.stamp)
    }
}

use crate::{Error, Result};
use std::io::ErrorKind;
use std::path::Path;

/// The longest config. Real ones have a few kilobytes; what is longer is something else.
const LONGEST: u64 = 16 << 20;

/// A small file, read whole.
pub(crate) enum Small {
    /// There is none.
    Absent,
    /// It is no file, or longer than any config.
    Unreasonable,
    /// Its bytes.
    Read(Vec<u8>),
}

impl Small {
    /// Reads the file at `path`, if there is one.
    ///
    /// # Errors
    /// If the system refuses to read.
    pub fn read(path: &Path) -> Result<Small> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() && metadata.len() <= LONGEST => {}
            Ok(_) => return Ok(Small::Unreasonable),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Small::Absent),
            Err(error) => return Err(Error::io("read", path)(error)),
        }
        Ok(Small::Read(std::fs::read(path).map_err(Error::io("read", path))?))
    }
}

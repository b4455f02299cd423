use super::look;
use crate::store::{Error, Result};
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
    /// As [`look::at`], and if the system refuses to read.
    pub fn read(path: &Path) -> Result<Small> {
        Small::up_to(path, LONGEST)
    }

    /// The same of a file that may have so many bytes.
    ///
    /// # Errors
    /// As [`read`](Small::read).
    pub fn up_to(path: &Path, longest: u64) -> Result<Small> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        match look::at(path).map_err(Error::io("read", path))? {
            None => Ok(Small::Absent),
            Some(found) if found.is_file() && found.len() <= longest => {
                Ok(Small::Read(std::fs::read(path).map_err(Error::io("read", path))?))
            }
            Some(_) => Ok(Small::Unreasonable),
        }
    }
}

//! Files that commands write beside checkpoints.

use super::exit::Exit;
use super::failure::Failure;
use crate::Error;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Writes a file that is not there yet, whole or not at all.
pub(super) fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let new = OpenOptions::new().write(true).create_new(true).open(file);
    let mut new = new.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(file),
        _ => Error::io("create", file)(error).into(),
    })?;
    new.write_all(bytes).and_then(|()| new.sync_all()).map_err(|error| {
        // What is there is a part.
        let _ = fs::remove_file(file);
        Error::io("write", file)(error).into()
    })
}

/// The failure of a file that is there.
pub(super) fn exists(file: &Path) -> Failure {
    let message = format!("{} is there already; nothing was written", file.display());
    Failure::new(Exit::Usage, "output-exists", message).help("give another file, or remove it")
}

//! Files that commands write beside checkpoints.

use super::exit::Exit;
use super::failure::Failure;
use crate::store::{Error, check_file, write_file};
use std::path::Path;

/// Writes a file that is not there yet, whole or not at all.
pub(super) fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_file(file, bytes).map_err(told)
}

/// Refuses a file that is there, before anything is computed.
pub(super) fn check_new(file: &Path) -> Result<(), Failure> {
    check_file(file).map_err(told)
}

fn told(error: Error) -> Failure {
    let Error::OutputExists { path } = error else { return error.into() };
    let message = format!("{} is there already; nothing was written", path.display());
    Failure::new(Exit::Usage, "output-exists", message).help("give another file, or remove it")
}

//! The right to write into the folder of a run.

use super::Trainer;
use crate::Result;
use crate::checkpoint::look;
use crate::store::{self, Lock, Place, sync_dir};
use std::fs;
use std::path::{Path, PathBuf};

/// The exclusive right to a run, from before its checkpoint is looked for until it ends: of two
/// runs in one folder, each would go on from the other's checkpoints and write into its log.
///
/// The system gives it back when the process dies.
pub(super) struct RunLock {
    // Dropped in this order: the file lies in the folders.
    _lock: Lock,
    _folders: Folders,
}

impl RunLock {
    /// Takes it, and makes the folder of the run.
    ///
    /// # Errors
    /// [`Locked`](crate::store::Error::Locked) if another process, or another run of this one,
    /// has it; [`Io`](crate::store::Error::Io).
    pub fn acquire(trainer: &Trainer) -> Result<Self> {
        let dir = &trainer.log_dir;
        let folders = Folders::create(dir)?;
        let lock = Lock::acquire(&Place::new(&dir.join(&trainer.name))?);
        let lock = lock.map_err(|error| match error {
            store::Error::Locked { owner, .. } => store::Error::Locked { path: dir.clone(), owner },
            error => error,
        })?;
        Ok(RunLock { _lock: lock, _folders: folders })
    }
}

/// The folders that had to be made, the innermost first. Those that are empty in the end are
/// removed, so that a run that is refused leaves nothing.
struct Folders(Vec<PathBuf>);

impl Folders {
    fn create(dir: &Path) -> Result<Self> {
        let mut made = Vec::new();
        for dir in dir.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            if look::exists(dir)? {
                break;
            }
            made.push(dir.to_path_buf());
        }
        let folders = Folders(made);
        fs::create_dir_all(dir).map_err(store::Error::io("create", dir))?;
        // A checkpoint that is on the disk is lost with the name of the folder above it.
        let above = |made: &PathBuf| match made.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        };
        folders.0.iter().try_for_each(above)?;
        Ok(folders)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        for dir in &self.0 {
            // One that is not empty cannot be removed, and is to stay.
            let _ = fs::remove_dir(dir);
        }
    }
}

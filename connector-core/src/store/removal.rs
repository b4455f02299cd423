//! Outputs that are to go, whole or not at all.

use super::lock::Lock;
use super::place::Place;
use super::publish::{is_recoverable, is_used, recover, remove};
use crate::store::failpoint::failpoint;
use crate::store::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Removes an output. It is gone at once, under its name; a process that is killed meanwhile leaves
/// what the next run for the output, or [`clear_up`], removes.
///
/// # Errors
/// [`Error::Locked`] if another process writes it; [`Error::Io`].
pub(crate) fn remove_output(target: &Path) -> Result<()> {
    let place = Place::new(target)?;
    let lock = Lock::acquire(&place)?;
    recover(&place, &lock)?;
    let place = if lock.is_exclusive() { place } else { place.own() };
    let (target, staging) = (place.target(), place.staging());
    fs::rename(&target, &staging).map_err(Error::io("remove", &target))?;
    failpoint("removal.renamed")?;
    remove(&staging)
}

/// The outputs in `parent` of which a run that was killed may have left something.
pub(crate) fn unfinished(parent: &Path) -> Result<Vec<PathBuf>> {
    let mut outputs = Vec::new();
    for entry in fs::read_dir(parent).map_err(Error::io("read", parent))? {
        let name = entry.map_err(Error::io("read", parent))?.file_name();
        outputs.extend(name.to_str().and_then(Place::of_leftover).map(|name| parent.join(name)));
    }
    outputs.sort();
    outputs.dedup();
    Ok(outputs)
}

/// Removes what runs that were killed left beside `target`, and brings back an output that one of
/// them was about to replace. Whether there was anything; nothing is touched that a process writes.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn clear_up(target: &Path) -> Result<bool> {
    let place = Place::new(target)?;
    // Taking the lock makes a file; as a rule there is nothing to do.
    if !is_used(&place)? {
        return Ok(false);
    }
    match Lock::acquire(&place) {
        Ok(lock) => recover(&place, &lock),
        Err(Error::Locked { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// [Clears up](clear_up) beside an output that is not written now; that it fails is no news.
pub(crate) fn tidy(target: &Path) {
    if let Err(error) = clear_up(target) {
        tracing::debug!(%error, "left for the next run");
    }
}

/// Whether [`clear_up`] would find anything, as far as can be told without a lock.
pub(crate) fn is_left(target: &Path) -> Result<bool> {
    is_recoverable(&Place::new(target)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_found_and_cleared_up() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.connector-staging", ".b.connector-lock", "c", ".hidden"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::remove_dir(dir.path().join(".b.connector-lock")).unwrap();
        fs::write(dir.path().join(".b.connector-lock"), "pid 1").unwrap();
        let found = unfinished(dir.path()).unwrap();
        assert_eq!(found, [dir.path().join("a"), dir.path().join("b")]);
        assert!(clear_up(&found[0]).unwrap());
        assert!(!clear_up(&found[1]).unwrap());
        remove_output(&dir.path().join("c")).unwrap();
        let left = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.retain(|name| !name.to_str().unwrap().ends_with("lock") || cfg!(unix));
        assert_eq!(left, [".hidden"]);
    }

    #[test]
    fn what_is_written_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        fs::create_dir(&target).unwrap();
        let _lock = Lock::acquire(&Place::new(&target).unwrap()).unwrap();
        assert!(matches!(remove_output(&target), Err(Error::Locked { .. })));
        fs::create_dir(dir.path().join(".out.connector-staging")).unwrap();
        assert!(!clear_up(&target).unwrap());
        assert!(target.exists() && dir.path().join(".out.connector-staging").exists());
    }
}

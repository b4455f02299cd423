//! Single files, which appear whole or not at all as directories do.

use super::close::close;
use super::place::Place;
use super::publish::remove;
use super::sync::sync_dir;
#[cfg(any(feature = "cli", test))]
use super::{
    lock::Lock,
    publish::{exists, recover, rename_new},
    removal::tidy,
};
use crate::store::failpoint::failpoint;
use crate::store::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes the file `target`, which must not be there yet: beside it, and once it is on the disk
/// under its name. What a run that was killed left is removed.
///
/// # Errors
/// [`Error::OutputExists`]; [`Error::InvalidOutput`] for a path that cannot be a file;
/// [`Error::Locked`] if another process is writing it; [`Error::Io`]. Nothing is left then.
#[cfg(any(feature = "cli", test))]
pub(crate) fn write_file(target: &Path, bytes: &[u8]) -> Result<()> {
    check_file(target)?;
    let place = Place::new(target)?;
    fs::metadata(&place.parent).map_err(Error::io("create", target))?;
    let lock = Lock::acquire(&place)?;
    recover(&place, &lock)?;
    let place = if lock.is_exclusive() { place } else { place.own() };
    write_beside(&place, bytes, rename_new)
}

/// Refuses what is there, and clears up beside it.
///
/// # Errors
/// As [`write_file`].
#[cfg(any(feature = "cli", test))]
pub(crate) fn check_file(target: &Path) -> Result<()> {
    let place = Place::new(target)?;
    if exists(&place.target())? {
        tidy(target);
        return Err(Error::OutputExists { path: target.into() });
    }
    Ok(())
}

/// Writes the file `target` in place of the one that is there, if any: whoever reads it sees the old
/// one or the new one. Only one process may do so at a time.
///
/// # Errors
/// [`Error::Io`]; the old file is there then.
#[cfg(feature = "train")]
pub(crate) fn replace_file(target: &Path, bytes: &[u8]) -> Result<()> {
    let place = Place::new(target)?;
    // From a run that was killed.
    remove(&place.staging())?;
    write_beside(&place, bytes, |place| {
        fs::rename(place.staging(), place.target()).map_err(Error::io("rename", place.staging()))
    })
}

fn write_beside(
    place: &Place,
    bytes: &[u8],
    rename: impl FnOnce(&Place) -> Result<()>,
) -> Result<()> {
    let staging = place.staging();
    let write = || {
        let mut file = File::create_new(&staging).map_err(Error::io("create", &staging))?;
        failpoint("file.created")?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(Error::io("write", &place.shown))?;
        close(file, &place.shown)?;
        failpoint("file.written")?;
        rename(place)
    };
    write().inspect_err(|_| {
        if let Err(error) = remove(&staging) {
            tracing::warn!(%error, "the unfinished file is left behind");
        }
    })?;
    failpoint("file.renamed")?;
    sync_dir(&place.parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| name(entry).into_string().unwrap())
            .filter(|name| cfg!(unix) || !name.ends_with("-lock"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_replaces_nothing_and_clears_up() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        fs::write(dir.path().join(".x.connector-staging"), "torn").unwrap();
        fs::write(dir.path().join(".x.connector-lock"), "").unwrap();
        write_file(&target, b"1").unwrap();
        fs::write(dir.path().join(".x.connector-lock"), "").unwrap();
        assert!(matches!(write_file(&target, b"2"), Err(Error::OutputExists { .. })));
        assert_eq!(
            (fs::read(&target).unwrap(), names(dir.path())),
            (b"1".to_vec(), vec!["x".into()])
        );
        let missing = write_file(&dir.path().join("a/x"), b"1").unwrap_err().to_string();
        assert!(missing.starts_with("cannot create ") && missing.contains("a/x"), "{missing}");
        assert!(matches!(write_file(Path::new(".."), b""), Err(Error::InvalidOutput { .. })));
    }

    #[cfg(feature = "train")]
    #[test]
    fn a_file_is_replaced_whatever_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        for text in ["1", "2"] {
            fs::write(dir.path().join(".x.connector-staging"), "torn, and longer").unwrap();
            replace_file(&target, text.as_bytes()).unwrap();
            assert_eq!(
                (fs::read_to_string(&target).unwrap(), names(dir.path())),
                (text.into(), vec!["x".to_string()])
            );
        }
        fs::remove_file(&target).unwrap();
        fs::create_dir(&target).unwrap();
        replace_file(&target, b"3").unwrap_err();
        assert_eq!(names(dir.path()), ["x"]);
    }
}

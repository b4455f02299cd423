//! What is at a path. Absent is only a name that is not there: a link that leads nowhere, and what
//! the system refuses to look at, are errors. Whatever they stand for would be left out otherwise.

use super::hf::Snapshot;
use crate::store::{Error, Result};
use std::fs::{self, FileType, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A link that leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("it is a link to {}, where nothing is{}", target.display(), damaged(snapshot.as_ref()))]
pub(crate) struct Dangling {
    target: PathBuf,
    /// The snapshot of the hub's cache that it is in: others removed or damaged what it leads to.
    pub snapshot: Option<Snapshot>,
}

fn damaged(snapshot: Option<&Snapshot>) -> String {
    let said = |snapshot: &Snapshot| {
        format!("; the hub's cache of {} is damaged: download it again", snapshot.repository)
    };
    snapshot.map(said).unwrap_or_default()
}

#[cfg(feature = "cli")]
impl Dangling {
    /// What `error` says of a link, if it is about one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// What is at `path`, behind its links; `None` if nothing has that name.
///
/// # Errors
/// If the name is a link that leads nowhere, or the system refuses.
pub(crate) fn at(path: &Path) -> io::Result<Option<Metadata>> {
    let found = |found: io::Result<Metadata>| match found {
        Ok(found) => Ok(Some(found)),
        // Of `file/name` the second.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    };
    if let Some(found) = found(fs::metadata(path))? {
        return Ok(Some(found));
    }
    match found(fs::symlink_metadata(path))? {
        Some(link) if link.is_symlink() => {
            let target = fs::read_link(path)?;
            let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
            let snapshot = folder.and_then(|folder| Snapshot::around(&folder));
            Err(io::Error::other(Dangling { target, snapshot }))
        }
        // Whatever has just been made there.
        found => Ok(found),
    }
}

/// Whether a file is at `path`.
///
/// # Errors
/// As [`at`].
pub(crate) fn is_file(path: &Path) -> Result<bool> {
    has(path, Metadata::is_file)
}

/// Whether a directory is at `path`.
///
/// # Errors
/// As [`at`].
pub(crate) fn is_dir(path: &Path) -> Result<bool> {
    has(path, Metadata::is_dir)
}

/// Whether anything is at `path`.
///
/// # Errors
/// As [`at`].
pub(crate) fn exists(path: &Path) -> Result<bool> {
    has(path, |_| true)
}

fn has(path: &Path, what: impl FnOnce(&Metadata) -> bool) -> Result<bool> {
    Ok(at(path).map_err(Error::io("read", path))?.is_some_and(|found| what(&found)))
}

/// What is at `path`, if it can be read as a file: to open a pipe would wait for its other end, and a
/// device has no end.
///
/// # Errors
/// [`Error::NotAFile`]; [`Error::Io`], also if nothing is there.
pub(crate) fn check_file(path: &Path) -> Result<Metadata> {
    let found = at(path).map_err(Error::io("read", path))?;
    let found = found.ok_or_else(|| Error::io("read", path)(ErrorKind::NotFound.into()))?;
    match found.is_file() {
        true => Ok(found),
        false => Err(Error::NotAFile { path: path.into(), what: what_is(found.file_type()) }),
    }
}

/// What something is that is no file.
pub(crate) fn what_is(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        for (is, what) in [
            (kind.is_fifo(), "a pipe"),
            (kind.is_socket(), "a socket"),
            (kind.is_block_device() || kind.is_char_device(), "a device"),
        ] {
            if is {
                return what;
            }
        }
    }
    if kind.is_dir() { "a directory" } else { "something else" }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_name_that_is_not_there_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "").unwrap();
        for (target, link) in [("file", "good"), ("gone", "dangling"), ("loop", "loop")] {
            symlink(target, path(link)).unwrap();
        }
        for (name, want) in [
            ("file", Ok(true)),
            ("good", Ok(true)),
            (".", Ok(false)),
            ("none", Ok(false)),
            ("file/none", Ok(false)),
            ("none/none", Ok(false)),
            ("dangling", Err("dangling: it is a link to gone, where nothing is")),
            ("loop", Err("loop: ")),
        ] {
            let found = is_file(&path(name)).map_err(|error| error.to_string());
            match (found, want) {
                (Err(found), Err(want)) => assert!(found.contains(want), "{found}"),
                (found, want) => assert_eq!(found.ok(), want.ok(), "{name}"),
            }
        }
    }

    #[test]
    fn a_damaged_cache_of_the_hub_is_told_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("models--org--name/snapshots/abc/original");
        fs::create_dir_all(&folder).unwrap();
        let link = folder.join("params.json");
        symlink("../../../blobs/0123", &link).unwrap();
        let error = exists(&link).unwrap_err().to_string();
        assert!(error.contains("the hub's cache of org/name is damaged"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_called_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &Path| check_file(path).unwrap_err().to_string();
        assert!(of("/dev/null".as_ref()).contains("/dev/null is a device, where a file"));
        assert!(of(dir.path()).contains("is a directory, where a file"));
        assert!(of(&dir.path().join("none")).contains("cannot read"));
    }
}

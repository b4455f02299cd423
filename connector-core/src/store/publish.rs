//! Puts a finished staging directory in its place, and what that needs before and after.

use super::lock::Lock;
use super::place::Place;
use super::staging::Overwrite;
use super::sync::sync_dir;
use crate::store::failpoint::failpoint;
use crate::store::{Error, Result};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The record that every conversion holds.
pub(crate) const CONVERSION_JSON: &str = "conversion.json";
/// The record that every checkpoint of a training run, and what is made of one, holds.
pub(crate) const TRAINING_JSON: &str = "training.json";

/// What is at the target now, given that it may be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    Missing,
    /// An output of this tool or an empty directory, to be replaced.
    Replaceable,
}

/// Looks at the target and refuses what must stay as it is.
pub(super) fn inspect(place: &Place, overwrite: Overwrite) -> Result<Target> {
    let target = place.target();
    let found = match fs::symlink_metadata(&target) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target::Missing),
        Err(error) => return Err(Error::io("find", &target)(error)),
    };
    let path = || place.shown.clone();
    let refuse = |reason| Err(Error::NotReplaceable { path: path(), reason });
    if overwrite == Overwrite::No {
        return Err(Error::OutputExists { path: path() });
    }
    // Replacing the link would move the output to another disk than the user chose for it, and
    // replacing what it leads to would do so in a directory that was not named.
    if found.is_symlink() {
        return refuse("it is a symbolic link; name the directory that it leads to");
    }
    if !found.is_dir() {
        return refuse("it is not a directory");
    }
    let parent = fs::metadata(&place.parent).map_err(Error::io("find", &place.parent))?;
    if is_mount(&parent, &found) {
        return refuse("it is a mount point; name a directory inside it");
    }
    if is_ours(&target)? || is_empty(&target).map_err(Error::io("read", &target))? {
        return Ok(Target::Replaceable);
    }
    refuse("it holds no conversion.json or training.json, so this tool did not write it")
}

/// A mount point cannot be renamed. Only another device shows it; a directory that is bound to
/// one of the same device is found out by the rename.
#[cfg(unix)]
fn is_mount(parent: &fs::Metadata, dir: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    parent.dev() != dir.dev()
}

#[cfg(not(unix))]
fn is_mount(_parent: &fs::Metadata, _dir: &fs::Metadata) -> bool {
    false
}

/// Whether `dir` is an output of this tool. What cannot be looked at may be one.
fn is_ours(dir: &Path) -> Result<bool> {
    let is = |path: &Path, what: fn(&fs::Metadata) -> bool| match fs::symlink_metadata(path) {
        Ok(found) => Ok(what(&found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("find", path)(error)),
    };
    let has = |record| is(&dir.join(record), fs::Metadata::is_file);
    Ok(is(dir, fs::Metadata::is_dir)? && (has(CONVERSION_JSON)? || has(TRAINING_JSON)?))
}

fn is_empty(dir: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(dir)?.next().is_none())
}

/// Clears away what earlier runs left when they were killed, and says whether there was anything.
///
/// | target | `-old` | killed | recovered by |
/// |---|---|---|---|
/// | missing | there | between the two renames | renaming it back |
/// | output | there | before the old output was removed | removing it |
/// | other | there | between the two; something else came since | leaving both; the run is refused |
///
/// Whose names are these? Under the lock nobody else's. Without locks each run has its own, of which
/// only those are touched whose run is known to be dead.
pub(super) fn recover(place: &Place, lock: &Lock) -> Result<bool> {
    let mut found = lock.is_exclusive() && recover_one(place)?;
    if !lock.is_exclusive() && is_left(place)? {
        warn_of(place);
    }
    for other in place.of_others()? {
        if other.is_abandoned() {
            found |= recover_one(&other)?;
        } else {
            warn_of(&other);
        }
    }
    Ok(found)
}

/// Whether there is anything that [`recover`] would clear away, as far as can be told without a lock.
pub(super) fn is_recoverable(place: &Place) -> Result<bool> {
    Ok(is_left(place)? || place.of_others()?.iter().any(Place::is_abandoned))
}

/// Whether there is anything that [`recover`] would clear away or warn of.
pub(super) fn is_used(place: &Place) -> Result<bool> {
    Ok(exists(&place.lock())? || is_left(place)? || !place.of_others()?.is_empty())
}

fn is_left(place: &Place) -> Result<bool> {
    Ok(exists(&place.staging())? || exists(&place.old())?)
}

fn warn_of(place: &Place) {
    for path in [place.staging(), place.old()] {
        if exists(&path).unwrap_or(true) {
            tracing::warn!(
                path = %path.display(),
                "another process may be writing this; if none is, on any machine, remove it"
            );
        }
    }
}

fn recover_one(place: &Place) -> Result<bool> {
    let (target, old, staging) = (place.target(), place.old(), place.staging());
    let (has_old, has_staging) = (exists(&old)?, exists(&staging)?);
    if has_old {
        if is_ours(&target)? {
            // The new output must not vanish in a power loss after the old one did.
            sync_dir(&place.parent)?;
            remove(&old)?;
        } else {
            // An empty directory at the target gives way.
            match fs::rename(&old, &target) {
                Ok(()) => tracing::info!(
                    path = %target.display(),
                    "brought back the output that an interrupted run was about to replace"
                ),
                Err(error) if exists(&target)? => tracing::warn!(
                    path = %old.display(), %error,
                    "an interrupted run left the previous output here; it cannot be brought back"
                ),
                Err(error) => return Err(Error::io("rename", &old)(error)),
            }
        }
    }
    if has_staging {
        // After an exchange it is the old output: see above.
        sync_dir(&place.parent)?;
        remove(&staging)?;
    }
    Ok(has_old || has_staging)
}

/// Gives the staging directory the target's name; what it replaced is then removed.
///
/// Where the system can exchange two names, there is no moment without an output. Elsewhere the
/// target is missing between two renames; if the process is killed there, the next run for this
/// target brings the old output back.
pub(super) fn publish(place: &Place, overwrite: Overwrite, sync: bool) -> Result<()> {
    failpoint("publish.rename")?;
    // Looked at again: hours may have passed since the first time.
    let replaced = match inspect(place, overwrite)? {
        Target::Missing => {
            rename_new(place)?;
            None
        }
        Target::Replaceable => Some(replace(place)?),
    };
    failpoint("publish.renamed")?;
    if sync && let Err(error) = sync_dir(&place.parent) {
        if let Some(old) = replaced.filter(|replaced| *replaced == place.old()) {
            tracing::warn!(path = %old.display(), "the replaced output is still here; the next run will remove it");
        }
        return Err(error);
    }
    if let Some(replaced) = replaced
        && let Err(error) = remove(&replaced)
    {
        // The output is complete and in its place; a leftover is no reason to report a failure.
        tracing::warn!(%error, "cannot remove the replaced output; the next run will try again");
    }
    failpoint("publish.removed")
}

/// Renames the staging directory to a target that must not exist.
pub(super) fn rename_new(place: &Place) -> Result<()> {
    let (staging, target) = (place.staging(), place.target());
    let renamed = match flagged::rename_noreplace(&staging, &target) {
        Some(renamed) => renamed,
        None => look_and_rename(&staging, &target),
    };
    renamed.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
            Error::OutputExists { path: place.shown.clone() }
        }
        _ => Error::io("rename", &staging)(error),
    })
}

/// Between the look and the rename something may come to the target. The rename itself then
/// refuses all but an empty directory, and on Windows even that.
fn look_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Replaces the target, and says where the old one is now.
fn replace(place: &Place) -> Result<PathBuf> {
    let (staging, target) = (place.staging(), place.target());
    // This failpoint plays a system that cannot exchange.
    let exchanged = match failpoint("publish.exchange") {
        Ok(()) => flagged::exchange(&staging, &target),
        Err(_) => None,
    };
    match exchanged {
        Some(exchanged) => {
            exchanged.map_err(taken(place, "replace"))?;
            Ok(staging)
        }
        None => replace_in_two(place),
    }
}

fn replace_in_two(place: &Place) -> Result<PathBuf> {
    let (target, old) = (place.target(), place.old());
    fs::rename(&target, &old).map_err(taken(place, "rename"))?;
    let renamed = failpoint("publish.between").and_then(|()| rename_new(place));
    if let Err(error) = renamed {
        match fs::rename(&old, &target) {
            // Another run, which no lock held off, was faster; what it replaced is the old output.
            Err(_) if is_ours(&target)? => remove(&old)?,
            back => back.map_err(Error::io("rename back", &old))?,
        }
        return Err(error);
    }
    Ok(old)
}

/// The error of a target that was there just now: another run, which no lock held off, replaces it.
fn taken(place: &Place, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => Error::Locked { path: place.shown.clone(), owner: None },
        _ => Error::io(action, place.target())(error),
    }
}

/// Renames with conditions; `None` if the system or the file system does not know them.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod flagged {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    use std::io;
    use std::path::Path;

    pub(super) fn rename_noreplace(from: &Path, to: &Path) -> Option<io::Result<()>> {
        rename(from, to, RenameFlags::NOREPLACE)
    }

    pub(super) fn exchange(a: &Path, b: &Path) -> Option<io::Result<()>> {
        rename(a, b, RenameFlags::EXCHANGE)
    }

    fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Option<io::Result<()>> {
        match renameat_with(CWD, from, CWD, to, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => None,
            renamed => Some(renamed.map_err(io::Error::from)),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod flagged {
    use std::io;
    use std::path::Path;

    pub(super) fn rename_noreplace(_from: &Path, _to: &Path) -> Option<io::Result<()>> {
        None
    }

    pub(super) fn exchange(_a: &Path, _b: &Path) -> Option<io::Result<()>> {
        None
    }
}

pub(super) fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("find", path)(error)),
    }
}

/// Removes whatever has this name, with everything inside. Links are not followed.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the given entries beside a target `out`; each `NAME=CONTENT` is an output
    /// that holds `CONTENT`.
    fn state(entries: &[&str]) -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        for entry in entries {
            let (name, content) = entry.split_once('=').unwrap();
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join(CONVERSION_JSON), content).unwrap();
        }
        let place = Place::new(&dir.path().join("out")).unwrap();
        (dir, place)
    }

    fn found(dir: &tempfile::TempDir) -> Vec<String> {
        let read = |entry: io::Result<fs::DirEntry>| {
            let entry = entry.unwrap();
            let content =
                fs::read_to_string(entry.path().join(CONVERSION_JSON)).unwrap_or_default();
            format!("{}={content}", entry.file_name().display())
        };
        let mut found: Vec<_> = fs::read_dir(dir.path()).unwrap().map(read).collect();
        found.sort();
        found
    }

    #[test]
    fn interrupted_runs_are_recovered() {
        let (staging, old) = (".out.connector-staging=new", ".out.connector-old=old");
        for (before, after) in [
            (vec![staging], vec![]),
            (vec!["out=old", staging], vec!["out=old"]),
            (vec!["out=new", ".out.connector-staging=old"], vec!["out=new"]),
            (vec![old, staging], vec!["out=old"]),
            (vec![old], vec!["out=old"]),
            (vec!["out=new", old], vec!["out=new"]),
        ] {
            let (dir, place) = state(&before);
            recover_one(&place).unwrap();
            assert_eq!(found(&dir), after, "{before:?}");
        }
    }

    #[test]
    fn recovery_takes_nothing_from_the_user() {
        let (dir, place) = state(&[".out.connector-old=old"]);
        fs::create_dir(place.target()).unwrap();
        if cfg!(unix) {
            recover_one(&place).unwrap();
            assert_eq!(found(&dir), ["out=old"]);
        }

        let (_dir, place) = state(&[".out.connector-old=old"]);
        fs::create_dir(place.target()).unwrap();
        fs::write(place.target().join("thesis"), "").unwrap();
        recover_one(&place).unwrap();
        assert!(place.target().join("thesis").exists() && place.old().exists());
        assert!(inspect(&place, Overwrite::Yes).is_err());
    }

    #[test]
    fn a_new_target_never_replaces_anything() {
        let (dir, place) = state(&["out=theirs", ".out.connector-staging=new"]);
        assert!(matches!(rename_new(&place), Err(Error::OutputExists { .. })));
        assert_eq!(found(&dir), [".out.connector-staging=new", "out=theirs"]);
        fs::remove_file(place.target().join(CONVERSION_JSON)).unwrap();
        look_and_rename(&place.staging(), &place.target()).unwrap_err();
        assert!(matches!(rename_new(&place), Err(Error::OutputExists { .. })));
        assert_eq!(found(&dir), [".out.connector-staging=new", "out="]);
    }

    #[test]
    fn a_rename_to_a_free_name_needs_no_help_from_the_system() {
        let (dir, place) = state(&[".out.connector-staging=new"]);
        look_and_rename(&place.staging(), &place.target()).unwrap();
        assert_eq!(found(&dir), ["out=new"]);
    }

    #[test]
    fn two_renames_do_what_an_exchange_does() {
        let (dir, place) = state(&["out=old", ".out.connector-staging=new"]);
        assert_eq!(replace_in_two(&place).unwrap(), place.old());
        assert_eq!(found(&dir), [".out.connector-old=old", "out=new"]);
    }

    #[test]
    fn the_old_output_comes_back_if_the_second_rename_fails() {
        let (dir, place) = state(&["out=old"]);
        replace_in_two(&place).unwrap_err();
        assert_eq!(found(&dir), ["out=old"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_mount_point_is_recognised() {
        let of = |path: &str| fs::metadata(path).unwrap();
        assert!(is_mount(&of("/"), &of("/proc")));
        assert!(!is_mount(&of("/proc"), &of("/proc/sys")));
    }
}

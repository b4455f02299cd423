use super::lock::Lock;
use super::place::Place;
use super::publish::{self, inspect, recover, remove};
use super::removal::tidy;
use super::sync::{sync_dir, sync_tree};
use crate::store::failpoint::failpoint;
use crate::store::{Error, Result};
use std::path::{Path, PathBuf};
use std::{fs, io};

#[cfg(all(test, feature = "failpoints"))]
mod crash;
#[cfg(test)]
mod tests;

/// Whether an output that exists may be replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It is refused.
    #[default]
    No,
    /// It is replaced if this tool wrote it or it is an empty directory, and refused otherwise.
    Yes,
}

impl From<bool> for Overwrite {
    fn from(asked: bool) -> Self {
        if asked { Overwrite::Yes } else { Overwrite::No }
    }
}

/// A directory that is written beside its final place and published whole, or not at all.
///
/// For the output `out` it is `.out.connector-staging`, with the lock file `.out.connector-lock`
/// beside it while a run lasts. If it is dropped instead of published, nothing stays on the disk,
/// not even parents that it had to make, unless something else lies in them meanwhile. If the
/// process is killed, the next run for the same output clears up.
///
/// Where the file system knows no locks, each run has a directory of its own,
/// `.out.connector-staging-PROCESS`, and the first that publishes has the name `out`.
///
/// Links on the way to the output are followed. An output that itself is a link is refused, even
/// one that may be overwritten: neither replacing the link nor, unasked, the directory that it
/// leads to would be safe.
#[derive(Debug)]
pub(crate) struct Staging {
    // Dropped in this order: what lies in the parents goes before them, and the lock outlives what
    // it guards.
    dir: Dir,
    _lock: Lock,
    parents: Parents,
    place: Place,
    overwrite: Overwrite,
    sync: bool,
}

impl Staging {
    /// Takes the lock for the output `target`, clears up after runs that were killed, and creates
    /// an empty staging directory.
    ///
    /// # Errors
    /// [`Error::InvalidOutput`] for a path that cannot be an output, [`Error::OutputExists`] and
    /// [`Error::NotReplaceable`] for one that must stay as it is, [`Error::Locked`] if another
    /// process is writing it, [`Error::Io`] if the system refuses. Nothing is left on the disk.
    pub fn begin(target: &Path, overwrite: Overwrite) -> Result<Self> {
        let place = Place::new(target)?;
        let mut parents = Parents(Vec::new());
        let lock = lock_in(&mut parents, &place)?;
        failpoint("staging.locked")?;
        recover(&place, &lock)?;
        inspect(&place, overwrite)?;
        let place = if lock.is_exclusive() { place } else { place.own() };
        let dir = Dir::create(place.staging())?;
        failpoint("staging.created")?;
        Ok(Staging { dir, _lock: lock, parents, place, overwrite, sync: true })
    }

    /// Refuses what [`begin`](Self::begin) would refuse of `target` as it is now, and writes
    /// nothing; beside what is refused it clears up, since no other run will.
    ///
    /// # Errors
    /// As [`begin`](Self::begin), but for the lock.
    pub fn check(target: &Path, overwrite: Overwrite) -> Result<()> {
        inspect(&Place::new(target)?, overwrite).map(drop).inspect_err(|_| tidy(target))
    }

    /// Whether [`publish`](Self::publish) waits for the disk; it does unless told otherwise.
    ///
    /// Without it a killed process still leaves the old output or the new one. After a power cut
    /// within the time that the system takes to write its cache back, some tens of seconds, the new
    /// one may be there with holes of zeros, or neither.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// The directory to write into.
    pub fn path(&self) -> &Path {
        &self.dir.0
    }

    /// Makes everything in the directory durable, see [`sync`](Self::sync), and gives it its final name.
    ///
    /// An output that is replaced is exchanged with the new one where the system can (Linux and
    /// macOS, on most file systems), so that there is one at every moment. Elsewhere it is renamed
    /// to `.out.connector-old` first; a process that is killed right then leaves no output, and the
    /// next run for it brings the old one back. The replaced output is removed last.
    ///
    /// # Errors
    /// As [`begin`](Self::begin): the target is looked at again. The directory is then removed and
    /// the target is as it was; except that if the system fails to make the new name durable, the
    /// output is already there.
    pub fn publish(mut self) -> Result<()> {
        failpoint("publish.sync")?;
        if self.sync {
            sync_tree(&self.dir.0)?;
        }
        publish::publish(&self.place, self.overwrite, self.sync)?;
        self.parents.keep(self.sync)
    }
}

/// The staging directory. Removed in the end; after publishing there is nothing left to remove.
#[derive(Debug)]
struct Dir(PathBuf);

impl Dir {
    fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Ok(Dir(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, "the unfinished output is left behind; the next run will remove it");
        }
    }
}

/// The parents that had to be made, outermost first. Removed in the end unless kept.
#[derive(Debug)]
struct Parents(Vec<PathBuf>);

impl Parents {
    /// Creates `dir` and what is missing above it.
    fn create(&mut self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Ok(()) => {}
            Err(_) if dir.is_dir() => return Ok(()),
            Err(error) => match dir.parent() {
                Some(parent) if error.kind() == io::ErrorKind::NotFound => {
                    self.create(parent)?;
                    // Another run may make it first; the caller then tries again.
                    fs::create_dir(dir)?;
                }
                _ => return Err(error),
            },
        }
        self.0.push(dir.into());
        Ok(())
    }

    /// Leaves them in place, and makes their names durable if `sync`.
    fn keep(&mut self, sync: bool) -> Result<()> {
        for made in std::mem::take(&mut self.0) {
            made.parent().filter(|_| sync).map_or(Ok(()), sync_dir)?;
        }
        Ok(())
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for made in self.0.iter().rev() {
            // Refused if something else lies there meanwhile, which is as it should be.
            let _ = fs::remove_dir(made);
        }
    }
}

/// Takes the lock, in parents that are made for it.
fn lock_in(parents: &mut Parents, place: &Place) -> Result<Lock> {
    // Another run that made the same parents and failed removes them again, perhaps before our
    // lock file lies there. Each attempt means that one more run did so right then.
    const ATTEMPTS: usize = 100;
    let mut attempt = || {
        parents.create(&place.parent).map_err(Error::io("create", &place.parent))?;
        Lock::acquire(place)
    };
    for _ in 1..ATTEMPTS {
        match attempt() {
            // A parent that exists and then is no directory is gone already, if not a file.
            Err(Error::Io { source, .. })
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                ) => {}
            done => return done,
        }
    }
    attempt()
}

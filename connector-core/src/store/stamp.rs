//! What tells one state of a file from another without reading it.
//!
//! The system changes a file's ctime with every change of its content, and nobody can set it. Two
//! changes within one tick of the clock may get the same one, though. So a stamp counts only when
//! the clock has moved on since the last change ([`settled`]): whatever changes the file after that
//! gets another ctime.

use crate::store::{Error, Result};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file as the system describes it: what it is, how long, and when it last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Device and inode, which a name that was given to another file does not keep.
    pub id: Option<(u64, u64)>,
    pub len: u64,
    /// The mtime, which is anybody's to set, in nanoseconds since 1970.
    pub modified: Option<i128>,
    /// The ctime, which is not, where the system has one.
    pub changed: Option<i128>,
}

/// The longest time between two ticks of a kernel's clock, 10 ms, and as much again for a server
/// whose clock differs.
const TICK: Duration = Duration::from_millis(20);
/// The same of a file system that keeps times in whole seconds, FAT in even ones.
const SECONDS: Duration = Duration::from_secs(2);
/// How often a file is looked at again that changed once more meanwhile.
const ATTEMPTS: usize = 5;

impl Stamp {
    /// The stamp that a file's metadata make.
    pub fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        let (id, changed) = {
            use std::os::unix::fs::MetadataExt;
            let changed = i128::from(found.ctime()) * NANOS + i128::from(found.ctime_nsec());
            (Some((found.dev(), found.ino())), Some(changed))
        };
        #[cfg(not(unix))]
        let (id, changed) = (None, None);
        let modified = found.modified().ok().map(since_1970);
        Stamp { id, len: found.len(), modified, changed }
    }

    /// How long from `now` on a change may still go unseen, because it would get the same ctime;
    /// nothing if it is in the future, where no waiting helps.
    pub fn fresh_for(&self, now: SystemTime) -> Duration {
        let Some(changed) = self.changed else { return Duration::ZERO };
        let granularity = if changed % NANOS == 0 { SECONDS } else { TICK };
        let age = since_1970(now) - changed;
        let left = granularity.as_nanos() as i128 - age;
        let is_ahead = left > SECONDS.as_nanos() as i128;
        if left <= 0 || is_ahead { Duration::ZERO } else { Duration::from_nanos(left as u64) }
    }

    /// Whether a change after `now` shows in the ctime: it is one of a finer clock, in the past.
    pub fn is_conclusive(&self, now: SystemTime) -> bool {
        let tick = TICK.as_nanos() as i128;
        // A real one falls on a whole second once in 1,000,000,000 times. That of a file system
        // without finer times does, and that of an image whose maker wrote what it liked.
        self.changed
            .is_some_and(|changed| changed % NANOS != 0 && changed + tick <= since_1970(now))
    }
}

const NANOS: i128 = 1_000_000_000;

fn since_1970(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// What `take` takes, after the last change of all files that `stamps` stamps lies so far back that
/// the next one will show. As a rule that is so at once; else it waits and takes again.
///
/// # Errors
/// Those of `take`; [`Error::SourceChanged`] if a file does not come to rest.
pub(crate) fn settled<T, E: From<Error>>(
    mut take: impl FnMut() -> Result<T, E>,
    stamps: impl Fn(&T) -> Result<Vec<(PathBuf, Stamp)>, E>,
) -> Result<T, E> {
    let mut restless = None;
    for _ in 0..ATTEMPTS {
        let begun = SystemTime::now();
        let taken = take()?;
        let fresh = stamps(&taken)?.into_iter().map(|(path, stamp)| (stamp.fresh_for(begun), path));
        match fresh.max().filter(|(left, _)| !left.is_zero()) {
            None => return Ok(taken),
            Some((left, path)) => {
                std::thread::sleep(left);
                restless = Some(path);
            }
        }
    }
    Err(Error::SourceChanged { path: restless.unwrap_or_default() }.into())
}

/// Passes if the file that `path` leads to has this stamp.
///
/// # Errors
/// [`Error::SourceChanged`] if it has not, or nothing is there; [`Error::Io`].
pub(crate) fn check_at(path: &Path, stamp: &Stamp) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if Stamp::of(&found) == *stamp => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("read", path)(error))
        }
        _ => Err(Error::SourceChanged { path: path.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A stamp whose ctime lies `ago` nanoseconds before `now`.
    fn stamp(now: SystemTime, ago: i128) -> Stamp {
        Stamp { id: None, len: 0, modified: None, changed: Some(since_1970(now) - ago) }
    }

    #[test]
    fn only_what_just_changed_is_waited_for() {
        let now = UNIX_EPOCH + Duration::new(1_000_000, 500_000_123);
        let ms = 1_000_000;
        for (ago, left) in [(0, 20), (5 * ms, 15), (20 * ms, 0), (3_600_000 * ms, 0)] {
            assert_eq!(stamp(now, ago).fresh_for(now), Duration::from_millis(left), "{ago}");
            assert_eq!(stamp(now, ago).is_conclusive(now), left == 0, "{ago}");
        }
        // A file system of whole seconds.
        let whole = stamp(now, 500_000_123);
        assert_eq!(whole.fresh_for(now), Duration::new(1, 499_999_877));
        assert!(!stamp(now, 3_600_500_000_123).is_conclusive(now));
        // A clock that was set back, or a server's that is ahead.
        let future = stamp(now, -3_600_000 * ms);
        assert_eq!((future.fresh_for(now), future.is_conclusive(now)), (Duration::ZERO, false));
        let none = Stamp { changed: None, ..future };
        assert_eq!((none.fresh_for(now), none.is_conclusive(now)), (Duration::ZERO, false));
    }

    #[test]
    fn what_is_taken_has_come_to_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let stamps = |found: &Metadata| Ok(vec![(path.clone(), Stamp::of(found))]);
        let look = || fs::metadata(&path).map_err(Error::io("read", &path));
        fs::write(&path, "1").unwrap();
        let taken = settled(look, stamps).unwrap();
        if cfg!(unix) {
            assert!(Stamp::of(&taken).is_conclusive(SystemTime::now()));
        }
        check_at(&path, &Stamp::of(&taken)).unwrap();

        // One that is written to all the time.
        let written = || {
            fs::write(&path, "2").unwrap();
            look()
        };
        if cfg!(unix) {
            let error = settled(written, stamps).unwrap_err();
            assert!(matches!(error, Error::SourceChanged { path: found } if found == path));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_change_shows_though_the_times_are_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("x"), dir.path().join("y"));
        let old = UNIX_EPOCH + Duration::from_secs(1);
        let write = |path: &Path, text: &str| {
            fs::write(path, text).unwrap();
            fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
        };
        write(&path, "1");
        let changes: [&dyn Fn(); 4] = [
            &|| write(&path, "2"),
            &|| {
                write(&other, "2");
                fs::rename(&other, &path).unwrap();
            },
            &|| {
                fs::rename(&path, &other).unwrap();
                std::os::unix::fs::symlink(&other, &path).unwrap();
                write(&path, "3");
            },
            &|| fs::remove_file(&path).unwrap(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let look = || fs::metadata(&path).map_err(Error::io("read", &path));
            let stamps = |found: &Metadata| Ok(vec![(path.clone(), Stamp::of(found))]);
            let before = Stamp::of(&settled(look, stamps).unwrap());
            assert_eq!(before.modified, Some(NANOS));
            change();
            let checked = check_at(&path, &before);
            assert!(matches!(checked, Err(Error::SourceChanged { .. })), "{number}");
        }
    }
}

use super::place::Place;
use super::publish::remove;
use crate::store::failpoint::failpoint;
use crate::store::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// How often an opened lock file may turn out to be removed by its previous owner. Each time
/// means that another process came and went between two of our system calls.
const ATTEMPTS: usize = 100;

/// How often a lock that is waited for is tried.
pub(crate) const POLL: std::time::Duration = std::time::Duration::from_millis(100);

/// The exclusive right to write one output, or, on a file system that knows no locks, none.
///
/// A lock on a file beside the output. The system gives it back when the process dies, so a file
/// that was left behind is no obstacle; its content, the owner's process id
/// and host, serves messages only. Where a file system is shared, the lock is too: Linux's NFS and
/// the usual cluster file systems carry it to the server, which gives it back when the host is gone.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The file, held for the lock on it, which closing releases.
    held: Option<(PathBuf, File)>,
}

impl Lock {
    /// Takes the lock of `place`.
    ///
    /// On a file system that knows no locks it warns and goes on: to refuse would shut out such
    /// file systems, and a lock that merely exists would outlive a process that was killed. What is
    /// written then needs [names of its own](Place::own).
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it, or this process a second time.
    pub(crate) fn acquire(place: &Place) -> Result<Self> {
        let path = place.lock();
        for _ in 0..ATTEMPTS {
            let opened = match open(&path, true) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(&path, false),
                opened => opened,
            };
            let (mut file, is_new) = match opened {
                // Removed by its owner between the two.
                Err(error) if error.kind() == io::ErrorKind::NotFound && place.parent.is_dir() => {
                    continue;
                }
                opened => opened.map_err(Error::io("create the lock file", &path))?,
            };
            match try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked {
                        path: place.shown.clone(),
                        owner: owner(&mut file),
                    });
                }
                Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                    tracing::warn!(
                        path = %path.display(),
                        "the file system knows no locks; others may write the same output meanwhile"
                    );
                    // One that was there may be another machine's, which has locks: its name is in it.
                    if is_new || file.metadata().is_ok_and(|found| found.len() == 0) {
                        remove(&path)?;
                    }
                    return Ok(Lock { held: None });
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
            if is_at(&file, &path).map_err(Error::io("read", &path))? {
                // Not worth an error: on a full disk something that matters will fail soon.
                let _ = file.set_len(0).and_then(|()| write!(file, "{}", me()));
                return Ok(Lock { held: Some((path, file)) });
            }
        }
        Err(Error::Locked { path: place.shown.clone(), owner: None })
    }

    /// Whether nobody else can have it.
    pub(super) fn is_exclusive(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the lock of `place` as soon as it is free; `None` if that was cancelled. `waiting` is told
    /// once who has it.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    #[cfg(feature = "hub")]
    pub(crate) fn wait(
        place: &Place,
        cancel: &crate::base::Cancel,
        waiting: impl FnOnce(&str),
    ) -> Result<Option<Self>> {
        let mut waiting = Some(waiting);
        loop {
            match Lock::acquire(place) {
                Err(Error::Locked { owner, .. }) => {
                    if let Some(tell) = waiting.take() {
                        tell(owner.as_deref().unwrap_or("another process"));
                    }
                }
                done => return done.map(Some),
            }
            if cancel.is_cancelled() {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Lock {
    /// Removes the file while the lock is still held: whoever opened it meanwhile will lock a file
    /// without a name, notice, and try again.
    fn drop(&mut self) {
        // Elsewhere that cannot be noticed, so the file stays.
        if cfg!(unix)
            && let Some((path, _)) = &self.held
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the lock file");
        }
    }
}

/// The failpoint plays a file system that knows no locks.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    match failpoint("lock.supported") {
        Ok(()) => file.try_lock(),
        Err(_) => Err(TryLockError::Error(io::ErrorKind::Unsupported.into())),
    }
}

/// Opens the file, and says whether it is a new one.
fn open(path: &Path, new: bool) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(new);
    // A link planted in a directory that others can write to must not lead us to another file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NOFOLLOW.bits().cast_signed(),
    );
    Ok((options.open(path)?, new))
}

/// This process as others are to know it: `pid 17 on host`.
fn me() -> String {
    let pid = std::process::id();
    #[cfg(unix)]
    if let Ok(host) = rustix::system::uname().nodename().to_str() {
        return format!("pid {pid} on {host}");
    }
    format!("pid {pid}")
}

/// The owner that the lock file names.
fn owner(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(300).read_to_string(&mut text).ok()?;
    let is_shown = text.starts_with("pid ") && !text.contains(char::is_control);
    is_shown.then_some(text)
}

fn is_unsupported(error: &io::Error) -> bool {
    // What NFS says without its lock daemon; it has no kind.
    #[cfg(unix)]
    if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NOLCK) {
        return true;
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// Whether `path` still names this file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn place(dir: &tempfile::TempDir) -> Place {
        Place::new(&dir.path().join("out")).unwrap()
    }

    #[test]
    fn a_second_owner_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        let lock = Lock::acquire(&place).unwrap();
        let message = Lock::acquire(&place).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            message.starts_with(&format!("another process (pid {pid}"))
                && message.contains(") is writing"),
            "{message}"
        );
        assert!(message.contains("out"), "{message}");
        drop(lock);
        Lock::acquire(&place).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn the_file_goes_with_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        drop(Lock::acquire(&place).unwrap());
        assert!(!place.lock().exists());
    }

    #[test]
    fn a_file_left_behind_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        fs::write(place.lock(), "4000000000 and more").unwrap();
        let _lock = Lock::acquire(&place).unwrap();
        assert_eq!(fs::read_to_string(place.lock()).unwrap(), me());
    }

    #[test]
    fn an_unreadable_owner_is_left_out_of_the_message() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        let _lock = Lock::acquire(&place).unwrap();
        fs::write(place.lock(), [0xff; 100]).unwrap();
        let message = Lock::acquire(&place).unwrap_err().to_string();
        assert!(message.starts_with("another process is writing"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_the_lock_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (place, other) = (place(&dir), dir.path().join("other"));
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, place.lock()).unwrap();
        let message = Lock::acquire(&place).unwrap_err().to_string();
        assert!(message.starts_with("cannot create the lock file"), "{message}");
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
    }

    #[test]
    fn never_two_owners() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(&dir);
        let (owners, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        match Lock::acquire(&place) {
                            Ok(lock) => {
                                assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0);
                                taken.fetch_add(1, Ordering::SeqCst);
                                thread::yield_now();
                                owners.fetch_sub(1, Ordering::SeqCst);
                                drop(lock);
                            }
                            Err(Error::Locked { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
    }
}

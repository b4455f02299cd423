//! Makes files and names durable.

use crate::base::parallel;
use crate::store::{Error, Result};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// How many files are waited for at once: a disk with a deep queue takes several as fast as one.
const AT_ONCE: usize = 4;

/// Writes everything inside `dir` through to the disk: files, names, and `dir` itself.
///
/// What the disk has already costs next to nothing. Links are not followed.
pub(super) fn sync_tree(dir: &Path) -> Result<()> {
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    list(dir, &mut files, &mut dirs)?;
    let synced = parallel::map(AT_ONCE, files.len(), |number| {
        let path = &files[number];
        // Windows syncs only what is open for writing.
        let file = OpenOptions::new().read(true).write(cfg!(windows)).open(path);
        file.and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
    });
    synced.into_iter().collect::<Result<()>>()?;
    dirs.iter().try_for_each(|dir| sync_dir(dir))
}

/// The files in `dir` and below, and the directories, each after those inside it.
fn list(dir: &Path, files: &mut Vec<PathBuf>, dirs: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        if kind.is_dir() {
            list(&path, files, dirs)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    dirs.push(dir.into());
    Ok(())
}

/// Makes the names in `dir` durable: what was created, renamed or removed there.
#[cfg(unix)]
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    use rustix::io::Errno;
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    match synced {
        // Some network and shared file systems cannot sync a directory; nothing more can be done.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::INVAL | Errno::BADF | Errno::NOTSUP | Errno::NOSYS)
            ) =>
        {
            tracing::debug!(path = %dir.display(), %error, "the directory cannot be synced");
            Ok(())
        }
        synced => synced.map_err(Error::io("sync", dir)),
    }
}

/// Makes the names in `dir` durable, where the system has a way to ask for it.
#[cfg(not(unix))]
pub(crate) fn sync_dir(_dir: &Path) -> Result<()> {
    Ok(())
}

//! Files that were written, closed.
//!
//! A server, or a disk quota, may refuse bytes long after `write` took them: NFS sends them when the
//! file is closed. Who does not wait for the disk hears of it there and nowhere else, and dropping a
//! [`File`] does not listen.

use crate::store::failpoint::failpoint;
use crate::store::{Error, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Closes `file`, which was written at `path`.
///
/// # Errors
/// [`Error::Io`] if what was written is not all there.
pub(crate) fn close(file: File, path: &Path) -> Result<()> {
    let closed = system::close(file);
    // This failpoint plays a server on which there is no room left.
    let refused = failpoint("store.close").map_err(|_| io::ErrorKind::QuotaExceeded.into());
    closed.and(refused).map_err(Error::io("close", path))
}

/// Writes the small file `path`, which is not there yet.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create_new(path).map_err(Error::io("create", path))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    close(file, path)
}

#[cfg(unix)]
mod system {
    use rustix::io::{Errno, try_close};
    use std::fs::File;
    use std::io;
    use std::os::fd::IntoRawFd;

    pub(super) fn close(file: File) -> io::Result<()> {
        // SAFETY: the descriptor was the file's own, and nobody has it any more.
        match unsafe { try_close(file.into_raw_fd()) } {
            // The file is closed: a second call might close another thread's.
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::File;
    use std::io;

    /// Elsewhere closing says nothing that was not said before.
    pub(super) fn close(file: File) -> io::Result<()> {
        drop(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_written_is_there() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"all of it").unwrap();
        close(file, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"all of it");
    }

    /// The system says so of a descriptor that somebody else closed.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_close_says_is_an_error_that_names_the_file() {
        use std::os::fd::AsRawFd;
        // Not closed twice in this process, where another thread may have the number by then.
        let program = std::env::current_exe().unwrap();
        if std::env::var_os("CLOSED_TWICE").is_none() {
            let test = "store::close::tests::what_close_says_is_an_error_that_names_the_file";
            let mut child = std::process::Command::new(program);
            let child = child.args(["--exact", test, "--test-threads=1"]).env("CLOSED_TWICE", "1");
            let output = String::from_utf8(child.output().unwrap().stdout).unwrap();
            assert!(output.contains("1 passed"), "{output}");
            return;
        }
        let file = tempfile::tempfile().unwrap();
        // SAFETY: nothing uses the descriptor between here and `close`, which is to find it closed.
        unsafe { rustix::io::close(file.as_raw_fd()) };
        let error = close(file, Path::new("somewhere/model")).unwrap_err().to_string();
        assert!(error.starts_with("cannot close somewhere/model: "), "{error}");
    }
}

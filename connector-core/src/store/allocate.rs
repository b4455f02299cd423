use std::fs::File;
use std::io;

/// Gives an empty file its length, with space on the disk where the system can promise it.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};
        match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, len)) {
            Ok(()) => return Ok(()),
            // Not every file system has it: NFS before 4.2, some of FUSE.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    file.set_len(len)
}

//! Copies that the kernel makes from file to file.

use super::Io;
use super::extents::Extent;
use crate::Result;
use crate::store::{Sink, Source};

/// Extents below this go through a buffer: the copy in the kernel is not worth its set-up.
#[cfg(target_os = "linux")]
const SMALLEST: u64 = 64 << 10;

/// Whether the kernel can copy between the files of a run; found out by the first tries.
pub(super) struct KernelCopy {
    #[cfg(target_os = "linux")]
    possible: std::sync::atomic::AtomicBool,
}

#[cfg(not(target_os = "linux"))]
impl KernelCopy {
    pub fn new(_: Io) -> Self {
        KernelCopy {}
    }

    pub fn copy(&self, _: &Extent, _: &dyn Source, _: &dyn Sink) -> Result<bool> {
        Ok(false)
    }
}

#[cfg(target_os = "linux")]
impl KernelCopy {
    pub fn new(io: Io) -> Self {
        KernelCopy { possible: (io == Io::Copy).into() }
    }

    /// Copies an extent, if both sides are local files and the file systems can. What it has
    /// written before it found out that they cannot will be written again.
    pub fn copy(&self, extent: &Extent, source: &dyn Source, sink: &dyn Sink) -> Result<bool> {
        use rustix::io::Errno;
        use std::sync::atomic::Ordering;
        if extent.cast.is_some() || extent.len < SMALLEST || !self.possible.load(Ordering::Relaxed)
        {
            return Ok(false);
        }
        let files = (source.local_file(extent.source.0), sink.local_file(extent.target.0));
        let (Some(from), Some(to)) = files else { return Ok(false) };
        let (mut off_in, mut off_out) = (extent.source.1, extent.target.1);
        let end = extent.source.1 + extent.len;
        while off_in < end {
            let left = (end - off_in) as usize;
            match rustix::fs::copy_file_range(from, Some(&mut off_in), to, Some(&mut off_out), left)
            {
                // The source ends early: the buffered read says where.
                Ok(0) => return Ok(false),
                Ok(_) | Err(Errno::INTR) => {}
                // Two file systems, or one that cannot: from now on through a buffer.
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    self.possible.store(false, Ordering::Relaxed);
                    return Ok(false);
                }
                Err(errno) => {
                    let path = source.path(extent.source.0);
                    return Err(crate::Error::io("copy from", path)(errno.into()));
                }
            }
        }
        Ok(true)
    }
}

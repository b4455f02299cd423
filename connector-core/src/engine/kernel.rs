//! Bytes that get from file to file without passing through this process: blocks that two files of
//! a file system share, and copies that the kernel makes. Whatever cannot be done so is left to a
//! buffer.

use super::extents::Extent;
use crate::base::stage::stage;
use crate::engine::Result;
use crate::store::failpoint::failpoint;
use crate::store::{Sink, Source};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Extents below this go through a buffer: a call of its own is not worth it.
const SMALLEST: u64 = 64 << 10;

/// The unit in which blocks are shared. File systems with larger ones refuse, and all is copied.
const BLOCK: u64 = 4096;

/// Shares the blocks of all extents where the file system can, and returns what is left of them.
/// `shared` is told what was done.
pub(super) fn share(
    extents: &[Extent],
    source: &dyn Source,
    sink: &dyn Sink,
    shared: &mut dyn FnMut(&Extent),
) -> Vec<Extent> {
    share_by(system::clone, extents, source, sink, shared)
}

/// A call that shares `len` bytes: source and its offset, target and its offset.
type Clone = fn((&File, u64), (&File, u64), u64) -> io::Result<()>;

fn share_by(
    clone: Clone,
    extents: &[Extent],
    source: &dyn Source,
    sink: &dyn Sink,
    shared: &mut dyn FnMut(&Extent),
) -> Vec<Extent> {
    let mut left = Vec::new();
    for (number, extent) in extents.iter().enumerate() {
        let files = (source.local_file(extent.source.0), sink.local_file(extent.target.0));
        let (Some(head), (Some(from), Some(to))) = (unshared_head(extent), files) else {
            left.push(*extent);
            continue;
        };
        stage!("share");
        let middle = extent.part(head, (extent.len - head) / BLOCK * BLOCK);
        let done = clone((from, middle.source.1), (to, middle.target.1), middle.len);
        if let Err(error) = done {
            // Two file systems, or one that cannot; if it is the disk, the copy will tell.
            tracing::debug!(%error, "blocks cannot be shared, so bytes are copied");
            left.extend_from_slice(&extents[number..]);
            return left;
        }
        source.note(middle.source.0, middle.source_range(), None);
        shared(&middle);
        let behind = head + middle.len;
        let rest = [(0, head), (behind, extent.len - behind)];
        left.extend(
            rest.iter().filter(|(_, len)| *len > 0).map(|(at, len)| extent.part(*at, *len)),
        );
    }
    left
}

/// How many bytes of an extent lie before the first block that can be shared, if any can.
fn unshared_head(extent: &Extent) -> Option<u64> {
    let (from, to) = (extent.source.1 % BLOCK, extent.target.1 % BLOCK);
    let head = (BLOCK - from) % BLOCK;
    let plain = extent.cast.is_none() && extent.rows == 1;
    (plain && from == to && extent.len >= SMALLEST.max(head + BLOCK)).then_some(head)
}

/// Whether the kernel can copy between the files of a run; found out by the first tries.
pub(super) struct KernelCopy {
    possible: AtomicBool,
    copy: Copy,
}

/// A call that copies up to `len` bytes: source and its offset, target and its offset. The number
/// of bytes that it did copy; `None` if it is not able to.
type Copy = fn((&File, u64), (&File, u64), u64) -> io::Result<Option<u64>>;

impl KernelCopy {
    /// Copies only if that is `wanted`.
    pub fn new(wanted: bool) -> Self {
        KernelCopy { possible: wanted.into(), copy: system::copy }
    }

    /// Copies an extent, if both sides are local files and the file systems can. If not, what it
    /// has written so far will be written again.
    ///
    /// # Errors
    /// [`Error::Io`](crate::store::Error::Io) if the system fails.
    pub fn copy(&self, extent: &Extent, source: &dyn Source, sink: &dyn Sink) -> Result<bool> {
        let wanted = extent.cast.is_none() && extent.rows == 1 && extent.len >= SMALLEST;
        if !wanted || !self.possible.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let files = (source.local_file(extent.source.0), sink.local_file(extent.target.0));
        let (Some(from), Some(to)) = files else { return Ok(false) };
        stage!("kernel copy");
        let mut done = 0;
        while done < extent.len {
            let (at, into) = (extent.source.1 + done, extent.target.1 + done);
            // This failpoint plays a file system that cannot.
            let copied = match failpoint("engine.kernel-copy") {
                Ok(()) => (self.copy)((from, at), (to, into), extent.len - done),
                Err(_) => Ok(None),
            };
            match copied {
                // The source ends early: the buffered read says where.
                Ok(Some(0)) => return Ok(false),
                Ok(Some(copied)) => done += copied,
                Ok(None) => {
                    self.possible.store(false, Ordering::Relaxed);
                    return Ok(false);
                }
                Err(error) => {
                    let path = source.path(extent.source.0);
                    return Err(crate::store::Error::io("copy from", path)(error).into());
                }
            }
        }
        source.note(extent.source.0, extent.source_range(), None);
        Ok(true)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::io::Errno;
    use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    /// `struct file_clone_range` of the kernel.
    #[repr(C)]
    struct CloneRange {
        from: i64,
        from_offset: u64,
        len: u64,
        to_offset: u64,
    }

    const FICLONERANGE: Opcode = opcode::write::<CloneRange>(0x94, 13);

    pub(super) fn clone(from: (&File, u64), to: (&File, u64), len: u64) -> io::Result<()> {
        let range = CloneRange {
            from: from.0.as_raw_fd().into(),
            from_offset: from.1,
            len,
            to_offset: to.1,
        };
        // SAFETY: FICLONERANGE reads one `file_clone_range`, and both files are open.
        unsafe { ioctl(to.0, Setter::<FICLONERANGE, CloneRange>::new(range)) }?;
        Ok(())
    }

    pub(super) fn copy(from: (&File, u64), to: (&File, u64), len: u64) -> io::Result<Option<u64>> {
        let (mut at, mut into) = (from.1, to.1);
        let most = usize::try_from(len).unwrap_or(usize::MAX);
        loop {
            match rustix::fs::copy_file_range(from.0, Some(&mut at), to.0, Some(&mut into), most) {
                Ok(copied) => return Ok(Some(copied as u64)),
                Err(Errno::INTR) => {}
                // Two file systems, or one that cannot.
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io;

    pub(super) fn clone(_: (&File, u64), _: (&File, u64), _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn copy(_: (&File, u64), _: (&File, u64), _: u64) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;

//! Reads and writes past the system's cache (`O_DIRECT`): no copy of what is read and written stays
//! there, and the processors spend less on it.
//!
//! Of a write, whole pages go that way. What it has before its first and behind its last whole page
//! goes through the cache, since a neighbour shares that page: so no page is written in both ways,
//! which a system may answer with an error at the next sync. Short reads go through the cache too,
//! which reads ahead. So does every byte of what cannot be opened, or once the system refuses.

use super::buffer::{BLOCK, Buffer};
use crate::engine::Result;
use crate::store::failpoint::failpoint;
use crate::store::{self, Checksum, FileId, Sink, Source, TensorInfo};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The unit in which a file is written past the cache: a multiple of the pages of systems (4, 16 or
/// 64 KiB). What the cache takes of the edges is shorter, and the cache makes no piece larger than
/// what is written, so that it never reaches into the next unit.
const PAGE: usize = 64 << 10;

/// How a file system that has opened a file says that it does not work with it, or with its blocks:
/// EINVAL, EOPNOTSUPP, ENOSYS.
const REFUSALS: [io::ErrorKind; 2] = [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];

/// What a bounce buffer has beside a request: the rest of its first and last block.
const BOUNCE_PADDING: usize = 2 * BLOCK;

/// A source whose local files are read past the cache.
pub(super) struct DirectSource<'a> {
    source: &'a dyn Source,
    files: Files,
}

/// A sink whose local files are written past the cache.
pub(super) struct DirectSink<'a> {
    sink: &'a dyn Sink,
    files: Files,
}

impl<'a> DirectSource<'a> {
    /// `buffer` is the size of one request.
    pub fn new(source: &'a dyn Source, buffer: usize) -> Self {
        DirectSource { source, files: Files::new(Access::Read, source.file_count(), buffer) }
    }
}

impl<'a> DirectSink<'a> {
    /// For so many files; `buffer` is the size of one request.
    pub fn new(sink: &'a dyn Sink, files: usize, buffer: usize) -> Self {
        DirectSink { sink, files: Files::new(Access::Write, files, buffer) }
    }
}

impl Source for DirectSource<'_> {
    fn tensors(&self) -> &[TensorInfo] {
        self.source.tensors()
    }

    fn file_count(&self) -> usize {
        self.source.file_count()
    }

    fn shown(&self, file: FileId) -> FileId {
        self.source.shown(file)
    }

    fn path(&self, file: FileId) -> &Path {
        self.source.path(file)
    }

    fn file_len(&self, file: FileId) -> u64 {
        self.source.file_len(file)
    }

    fn description(&self, file: FileId) -> store::Result<Vec<u8>> {
        self.source.description(file)
    }

    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> store::Result<()> {
        if buffer.len() >= PAGE {
            let local = self.source.local_file(file);
            let direct = |open: &File, bounce: &mut [u8]| read(open, offset, buffer, bounce);
            if let Ok(true) = self.files.with(file, local, || self.path(file).into(), direct) {
                self.source.note(file, offset..offset + buffer.len() as u64, Some(buffer));
                return Ok(());
            }
        }
        // Whatever was wrong, this says it with the file's path.
        self.source.read_at(file, offset, buffer)
    }

    fn check_unchanged(&self) -> store::Result<()> {
        self.source.check_unchanged()
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.source.local_file(file)
    }

    fn checksums(&self) -> &[Checksum] {
        self.source.checksums()
    }

    fn note(&self, file: FileId, range: Range<u64>, bytes: Option<&[u8]>) {
        self.source.note(file, range, bytes);
    }
}

impl Sink for DirectSink<'_> {
    fn path(&self, file: FileId) -> PathBuf {
        self.sink.path(file)
    }

    fn admit(&self, file: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        self.sink.admit(file, offset, bytes)
    }

    fn write_at(&self, file: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        let head = (offset.next_multiple_of(PAGE as u64) - offset) as usize;
        let whole = bytes.len().saturating_sub(head) / PAGE * PAGE;
        let Some(local) = self.sink.local_file(file).filter(|_| whole > 0) else {
            return self.sink.write_at(file, offset, bytes);
        };
        // In the order of the file, in which a sink may count on what one thread writes.
        let (head, rest) = bytes.split_at(head);
        let (middle, tail) = rest.split_at(whole);
        if !head.is_empty() {
            self.sink.write_at(file, offset, head)?;
        }
        let at = offset + head.len() as u64;
        self.sink.admit(file, at, middle)?;
        let path = || self.path(file);
        let direct = |open: &File, bounce: &mut [u8]| write(open, at, middle, bounce);
        let done = self.files.with(file, Some(local), path, direct);
        if !done.map_err(|error| store::Error::io("write", path())(error))? {
            return self.sink.write_at(file, at, rest);
        }
        if !tail.is_empty() {
            self.sink.write_at(file, at + whole as u64, tail)?;
        }
        Ok(())
    }

    fn sync(&self, file: FileId) -> store::Result<()> {
        self.sink.sync(file)
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.sink.local_file(file)
    }
}

/// What is done with files.
#[derive(Clone, Copy, Debug)]
enum Access {
    Read,
    Write,
}

/// Files that are opened a second time, when they are first used, and the memory between them and
/// buffers that do not lie as a disk wants it.
struct Files {
    access: Access,
    open: Vec<OnceLock<Result<File, ()>>>,
    /// Whether the system has refused to work so.
    refused: AtomicBool,
    told: AtomicBool,
    bounces: Mutex<Vec<Buffer>>,
    /// The size of a bounce buffer.
    bounce: usize,
}

impl Files {
    fn new(access: Access, count: usize, buffer: usize) -> Self {
        Files {
            access,
            open: (0..count).map(|_| OnceLock::new()).collect(),
            refused: AtomicBool::new(false),
            told: AtomicBool::new(false),
            bounces: Mutex::default(),
            bounce: buffer.next_multiple_of(BLOCK) + BOUNCE_PADDING,
        }
    }

    /// Does `work` with a file; `false` if the cache has to do it. `path` is for messages.
    fn with(
        &self,
        file: FileId,
        local: Option<&File>,
        path: impl Fn() -> PathBuf,
        work: impl FnOnce(&File, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some((local, slot)) = local.zip(self.open.get(file)) else { return Ok(false) };
        if self.refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match self.attempt(slot, local, &path, work) {
            Err(error) if REFUSALS.contains(&error.kind()) => {
                self.refused.store(true, Ordering::Relaxed);
                self.tell(&path(), &error);
                Ok(false)
            }
            done => done,
        }
    }

    fn attempt(
        &self,
        slot: &OnceLock<Result<File, ()>>,
        local: &File,
        path: &dyn Fn() -> PathBuf,
        work: impl FnOnce(&File, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        // This failpoint plays a system that cannot.
        failpoint("engine.direct").map_err(|_| io::ErrorKind::Unsupported)?;
        let open = || system::open(local, self.access).map_err(|error| self.tell(&path(), &error));
        let Ok(open) = slot.get_or_init(open) else { return Ok(false) };
        let mut bounce = self.bounces().pop().unwrap_or_default();
        let done = work(open, bounce.room(self.bounce));
        self.bounces().push(bounce);
        done.map(|()| true)
    }

    /// Warns, of the first file that the cache has to do with.
    fn tell(&self, path: &Path, error: &io::Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let access = match self.access {
                Access::Read => "read",
                Access::Write => "written",
            };
            let path = path.display();
            tracing::warn!("direct I/O: {path} cannot be {access} past the cache: {error}");
        }
    }

    fn bounces(&self) -> MutexGuard<'_, Vec<Buffer>> {
        self.bounces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills `buffer` from `offset` on with the help of `bounce`, which begins at a block and has room
/// for more than one.
fn read(file: &File, offset: u64, buffer: &mut [u8], bounce: &mut [u8]) -> io::Result<()> {
    let mut rest = buffer;
    let mut at = offset;
    while !rest.is_empty() {
        let start = at / BLOCK as u64 * BLOCK as u64;
        let skip = (at - start) as usize;
        let wanted = (skip + rest.len()).next_multiple_of(BLOCK).min(bounce.len());
        let got = system::read(file, &mut bounce[..wanted], start)?;
        let Some(bytes @ 1..) = got.checked_sub(skip) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let bytes = bytes.min(rest.len());
        let (now, later) = rest.split_at_mut(bytes);
        now.copy_from_slice(&bounce[skip..skip + bytes]);
        (rest, at) = (later, at + bytes as u64);
    }
    Ok(())
}

/// Writes `bytes`, which are whole blocks, at the beginning of a block; by way of `bounce` if they
/// do not begin at one in memory.
fn write(file: &File, mut at: u64, bytes: &[u8], bounce: &mut [u8]) -> io::Result<()> {
    let aligned = bytes.as_ptr().align_offset(BLOCK) == 0;
    let most = bounce.len() / BLOCK * BLOCK;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = if aligned {
            system::write(file, rest, at)?
        } else {
            let len = rest.len().min(most);
            bounce[..len].copy_from_slice(&rest[..len]);
            system::write(file, &bounce[..len], at)?
        };
        // What the disk took of a block it takes again.
        let written = written / BLOCK * BLOCK;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        (rest, at) = (&rest[written..], at + written as u64);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod system {
    use super::Access;
    use rustix::fs::{Mode, OFlags};
    use rustix::io::retry_on_intr;
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    /// Opens a file that is open already: the flag belongs to a handle, and others use that one.
    pub(super) fn open(file: &File, access: Access) -> io::Result<File> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let access = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
        };
        let flags = access | OFlags::DIRECT | OFlags::CLOEXEC;
        Ok(retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty()))?.into())
    }

    pub(super) fn read(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pread(file, &mut *buffer, at))?)
    }

    pub(super) fn write(file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::pwrite(file, bytes, at))?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Access;
    use std::fs::File;
    use std::io;

    pub(super) fn open(_: &File, _: Access) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn read(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn write(_: &File, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

// The reads and writes themselves are there only on Linux.
#[cfg(all(test, target_os = "linux"))]
mod tests;

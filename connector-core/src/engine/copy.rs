use super::Job;
use super::cast::{Tally, cast};
use super::chunks::Chunk;
use crate::failpoint::failpoint;
use crate::store::{Sink, Source};
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Runs all chunks on a few threads. Each takes the next chunk in the order of the source.
pub(super) fn run(job: &Job<'_>, tally: &Tally) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let chunks = &job.prepared.chunks;
    let worker = || {
        let mut buffers = Buffers::new(job.prepared.buffer);
        while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let result = job
                .cancel
                .check()
                .and_then(|()| failpoint("engine.chunk"))
                .and_then(|()| buffers.run(chunk, job, tally));
            if let Err(error) = result {
                failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
            job.progress.advance(chunk.target_len());
        }
        Ok(())
    };
    let threads = job.prepared.threads.min(chunks.len());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let own = worker();
        let others = workers.into_iter().map(|w| w.join().unwrap_or(Err(Error::WorkerPanicked)));
        // The first error is the cause; the others stopped because of it.
        others.chain([own]).collect::<Result<Vec<()>>>().map(drop)
    })
}

/// What one thread works with.
struct Buffers {
    read: Vec<u8>,
    cast: Vec<u8>,
    /// Whether the kernel can copy between these files; found out by the first try.
    kernel: bool,
}

impl Buffers {
    fn new(size: usize) -> Self {
        Buffers { read: vec![0; size], cast: Vec::new(), kernel: true }
    }

    fn run(&mut self, chunk: &Chunk, job: &Job<'_>, tally: &Tally) -> Result<()> {
        let mut done = 0;
        if chunk.cast.is_none() && self.kernel {
            done = kernel_copy(chunk, job.source, job.sink, &mut self.kernel)?;
        }
        if done == chunk.len {
            return Ok(());
        }
        let (from, to) = (chunk.source, chunk.target);
        let read = &mut self.read[..(chunk.len - done) as usize];
        job.source.read_at(from.0, from.1 + done, read)?;
        let Some((source, target)) = chunk.cast else {
            return job.sink.write_at(to.0, to.1 + done, read);
        };
        self.cast.resize(chunk.target_len() as usize, 0);
        tally.add(chunk.output, cast(read, source, &mut self.cast, target));
        job.sink.write_at(to.0, to.1, &self.cast)
    }
}

/// Chunks below this go through a buffer: the copy in the kernel is not worth its set-up.
#[cfg(target_os = "linux")]
const SMALLEST_KERNEL_COPY: u64 = 64 << 10;

/// Lets the kernel copy, where both sides are local files and the file system can. Returns how
/// many bytes it copied; the rest goes through a buffer.
#[cfg(target_os = "linux")]
fn kernel_copy(
    chunk: &Chunk,
    source: &dyn Source,
    sink: &dyn Sink,
    possible: &mut bool,
) -> Result<u64> {
    use rustix::io::Errno;
    let files = (source.local_file(chunk.source.0), sink.local_file(chunk.target.0));
    let (Some(from), Some(to)) = files else { return Ok(0) };
    if chunk.len < SMALLEST_KERNEL_COPY {
        return Ok(0);
    }
    let (mut off_in, mut off_out) = (chunk.source.1, chunk.target.1);
    let mut done = 0;
    while done < chunk.len {
        let left = (chunk.len - done) as usize;
        match rustix::fs::copy_file_range(from, Some(&mut off_in), to, Some(&mut off_out), left) {
            // The source ends early: the buffered read says where.
            Ok(0) => return Ok(done),
            Ok(copied) => done += copied as u64,
            Err(Errno::INTR) => {}
            // Other file systems, or one that cannot: from now on through a buffer.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                *possible = false;
                return Ok(done);
            }
            Err(errno) => {
                return Err(Error::io("copy from", source.path(chunk.source.0))(errno.into()));
            }
        }
    }
    Ok(done)
}

#[cfg(not(target_os = "linux"))]
fn kernel_copy(_: &Chunk, _: &dyn Source, _: &dyn Sink, possible: &mut bool) -> Result<u64> {
    *possible = false;
    Ok(0)
}

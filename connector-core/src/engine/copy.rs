use super::cast::{Tally, cast};
use super::extents::{Extent, Queue};
use super::flush::Flusher;
use super::kernel::{self, KernelCopy};
use super::{Io, Job};
use crate::failpoint::failpoint;
use crate::stage::stage;
use crate::{Error, Result};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Moves all extents on a few threads, each with the next ones in the order of the source; this
/// thread does `steps` first.
pub(super) fn run(job: &Job<'_>, tally: &Tally, steps: impl FnOnce() -> Result<()>) -> Result<()> {
    let prepared = job.prepared;
    let buffer = prepared.buffer as u64;
    let mut shared = |extent: &Extent| job.progress.advance(extent.len);
    let extents = match prepared.io {
        Io::Buffered => Cow::Borrowed(&prepared.extents),
        Io::Auto | Io::Copy => {
            Cow::Owned(kernel::share(&prepared.extents, job.source, job.sink, &mut shared))
        }
    };
    let bytes: u64 = extents.iter().map(Extent::bytes).sum();
    // No more threads than there are buffers to fill.
    let others = (prepared.threads - 1).min(bytes.div_ceil(buffer) as usize);
    let run = Run {
        job,
        tally,
        queue: Queue::new(&extents, buffer, others + 1),
        kernel: KernelCopy::new(prepared.io == Io::Copy),
        flusher: prepared.sync.then(|| Flusher::new(job.sink, job.places)),
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let run = &run;
        let worker = |number| scope.spawn(move || run.work(number));
        let workers: Vec<_> = (1..=others).map(worker).collect();
        let flusher = run.flusher.as_ref().map(|flusher| scope.spawn(|| flusher.run()));
        // Dropped when this thread panics too, or the flusher would wait for ever.
        let written = Written(run.flusher.as_ref());
        let steps = run.note(steps());
        let own = run.work(0);
        let mut results = vec![steps];
        results.extend(workers.into_iter().map(|w| w.join().unwrap_or(Err(Error::WorkerPanicked))));
        results.push(own);
        drop(written);
        results.extend(flusher.map(|f| f.join().unwrap_or(Err(Error::WorkerPanicked))));
        // The first error is the cause; the others stopped because of it.
        results.into_iter().collect()
    })
}

/// Ends the flusher.
struct Written<'a>(Option<&'a Flusher<'a>>);

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(flusher) = self.0 {
            flusher.finish();
        }
    }
}

/// What the threads share.
struct Run<'a> {
    job: &'a Job<'a>,
    tally: &'a Tally,
    queue: Queue<'a>,
    kernel: KernelCopy,
    flusher: Option<Flusher<'a>>,
    failed: AtomicBool,
}

impl Run<'_> {
    /// Stops the others if it is an error.
    fn note(&self, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Takes batches until none are left.
    fn work(&self, number: usize) -> Result<()> {
        let mut buffers = Buffers::default();
        let mut batch = Vec::new();
        loop {
            self.queue.take(number, &mut batch);
            if batch.is_empty() || self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.note(self.batch(&batch, &mut buffers))?;
        }
    }

    fn batch(&self, batch: &[Extent], buffers: &mut Buffers) -> Result<()> {
        self.job.cancel.check()?;
        // One that the kernel copies is not read; what lies before and behind it is.
        let mut unread = 0;
        for (number, extent) in batch.iter().enumerate() {
            if self.kernel.copy(extent, self.job.source, self.job.sink)? {
                self.buffered(&batch[unread..number], buffers)?;
                self.written(extent)?;
                unread = number + 1;
            }
        }
        self.buffered(&batch[unread..], buffers)
    }

    /// Reads extents that lie together at once, and writes each to its place.
    fn buffered(&self, extents: &[Extent], buffers: &mut Buffers) -> Result<()> {
        let Some(first) = extents.first() else { return Ok(()) };
        let bytes: u64 = extents.iter().map(Extent::bytes).sum();
        // Grows to the size of a buffer once.
        buffers.read.resize(bytes as usize, 0);
        {
            stage!("read");
            self.job.source.read_at(first.source.0, first.source.1, &mut buffers.read)?;
        }
        let mut rest = &buffers.read[..];
        for extent in extents {
            let (bytes, others) = rest.split_at(extent.bytes() as usize);
            rest = others;
            self.job.cancel.check()?;
            failpoint("engine.chunk")?;
            let bytes = match extent.cast {
                None => bytes,
                Some((from, to)) => {
                    stage!("cast");
                    buffers.cast.resize(extent.target_bytes() as usize, 0);
                    self.tally.add(extent.output, cast(bytes, from, &mut buffers.cast, to));
                    &buffers.cast
                }
            };
            {
                stage!("write");
                let (file, mut at) = extent.target;
                for row in bytes.chunks(extent.target_row().max(1) as usize) {
                    self.job.sink.write_at(file, at, row)?;
                    at += extent.step;
                }
            }
            self.written(extent)?;
        }
        Ok(())
    }

    fn written(&self, extent: &Extent) -> Result<()> {
        let bytes = extent.target_bytes();
        if let Some(flusher) = &self.flusher {
            flusher.advance(extent.target.0, bytes);
        }
        self.job.progress.advance(bytes);
        Ok(())
    }
}

/// What one thread works with.
#[derive(Default)]
struct Buffers {
    read: Vec<u8>,
    cast: Vec<u8>,
}

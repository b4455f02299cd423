use super::buffer::Buffer;
use super::cast::{Tally, cast};
use super::extents::{Extent, Queue};
use super::flush::Flusher;
use super::kernel::{self, KernelCopy};
use super::{Io, Job};
use crate::base::stage::stage;
use crate::base::{WorkerPanicked, parallel};
use crate::engine::Result;
use crate::store::failpoint::failpoint;
use std::sync::atomic::{AtomicBool, Ordering};

/// Moves `extents` on a few threads, each with the next ones in the order of the target; this
/// thread does `steps` first.
pub(super) fn run(
    job: &Job<'_>,
    extents: Vec<Extent>,
    tally: &Tally,
    steps: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let prepared = job.prepared;
    let buffer = prepared.buffer as u64;
    let mut shared = |extent: &Extent| job.progress.advance(extent.len);
    let extents = match prepared.io {
        Io::Buffered => extents,
        Io::Auto | Io::Direct | Io::Copy => {
            kernel::share(&extents, job.source, job.sink, &mut shared)
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
        let worker = |number| parallel::spawn(scope, move || run.work(number));
        let workers: Vec<_> = (1..=others).map_while(worker).collect();
        // Without it, whoever publishes has more to wait for.
        let flusher = run.flusher.as_ref();
        let flusher = flusher.and_then(|flusher| parallel::spawn(scope, || flusher.run()));
        // Dropped when this thread panics too, or the flusher would wait for ever.
        let written = Written(run.flusher.as_ref());
        let steps = run.note(steps());
        let own = run.work(0);
        let mut results = vec![steps];
        results.extend(workers.into_iter().map(|w| w.join().unwrap_or(Err(WorkerPanicked.into()))));
        results.push(own);
        drop(written);
        results.extend(flusher.map(|f| f.join().unwrap_or(Err(WorkerPanicked.into()))));
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

    /// Reads extents that lie together in the target, and writes them at once.
    fn buffered(&self, extents: &[Extent], buffers: &mut Buffers) -> Result<()> {
        let Some(first) = extents.first() else { return Ok(()) };
        let bytes: u64 = extents.iter().map(Extent::target_bytes).sum();
        let Buffers { read, write } = buffers;
        let write = write.room(bytes as usize);
        let mut rest = &mut *write;
        for together in extents.chunk_by(Extent::reads_on) {
            let bytes: u64 = together.iter().map(Extent::target_bytes).sum();
            let (made, others) = rest.split_at_mut(bytes as usize);
            rest = others;
            self.read(together, read, made)?;
        }
        {
            stage!("write");
            let (file, mut at) = first.target;
            let row = if first.rows > 1 { first.target_row() } else { bytes };
            for row in write.chunks(row.max(1) as usize) {
                self.job.sink.write_at(file, at, row)?;
                at += first.step;
            }
        }
        extents.iter().try_for_each(|extent| self.written(extent))
    }

    /// Reads extents that lie together in the source, which are one if it is cast.
    fn read(&self, extents: &[Extent], read: &mut Buffer, made: &mut [u8]) -> Result<()> {
        self.job.cancel.check()?;
        failpoint("engine.chunk")?;
        let Extent { source: (file, at), cast: as_type, output, .. } = extents[0];
        let Some((from, to)) = as_type else {
            stage!("read");
            return Ok(self.job.source.read_at(file, at, made)?);
        };
        let read = read.room(extents[0].bytes() as usize);
        {
            stage!("read");
            self.job.source.read_at(file, at, read)?;
        }
        stage!("cast");
        self.tally.add(output, cast(read, from, made, to));
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
    read: Buffer,
    write: Buffer,
}

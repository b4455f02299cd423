use crate::plan::{Plan, Work};
use crate::store::{Dtype, FileId, Part, Source, landings};
use std::sync::{Mutex, PoisonError};

/// Bytes that lie together on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub source: (FileId, u64),
    pub target: (FileId, u64),
    /// Their number in the source.
    pub len: u64,
    /// The output they belong to.
    pub output: usize,
    /// Their type on both sides, if it changes.
    pub cast: Option<(Dtype, Dtype)>,
}

impl Extent {
    /// Their number in the target.
    pub fn target_len(&self) -> u64 {
        match self.cast {
            Some((from, to)) => self.len * to.bits() / from.bits(),
            None => self.len,
        }
    }

    /// Its `len` bytes from `at` on, counted in the source.
    fn part(&self, at: u64, len: u64) -> Extent {
        let skipped = Extent { len: at, ..*self }.target_len();
        Extent {
            source: (self.source.0, self.source.1 + at),
            target: (self.target.0, self.target.1 + skipped),
            len,
            ..*self
        }
    }
}

/// The extents of `steps` in the order of the source files.
pub(super) fn extents(
    plan: &Plan,
    source: &dyn Source,
    places: &[Vec<Part>],
    steps: &[usize],
) -> Vec<Extent> {
    let mut all = Vec::new();
    for &step in steps {
        of_step(plan, source, places, step, &mut all);
    }
    all.sort_unstable();
    coalesce(all)
}

/// The runs of one step, in bytes.
fn of_step(
    plan: &Plan,
    source: &dyn Source,
    places: &[Vec<Part>],
    step: usize,
    all: &mut Vec<Extent>,
) {
    let step = &plan.steps[step];
    let Work::Moves(moves) = &step.work else { return };
    for m in moves {
        let input = step.inputs[m.source];
        let tensor = &source.tensors()[input.tensor];
        let number = step.outputs[m.target];
        let output = &plan.outputs[number];
        let slice = tensor.elements() / tensor.shape.first().map_or(1, |&n| n.max(1) as u64);
        let base = input.index.map_or(0, |index| index as u64 * slice);
        for (from, to, len) in m.runs() {
            let mut to = to;
            for run in tensor.runs(base + from, len) {
                let bytes = |elements: u64| elements * output.dtype.bits() / 8;
                let mut source = run.offset;
                for landing in landings(&places[number], bytes(to), bytes(run.len)) {
                    let len = landing.len * tensor.dtype.bits() / output.dtype.bits();
                    all.push(Extent {
                        source: (run.file, source),
                        target: (landing.file, landing.offset),
                        len,
                        output: number,
                        cast: (output.dtype != output.made_as)
                            .then_some((output.made_as, output.dtype)),
                    });
                    source += len;
                }
                to += run.len;
            }
        }
    }
}

/// Joins extents that continue each other on both sides.
fn coalesce(sorted: Vec<Extent>) -> Vec<Extent> {
    let mut joined: Vec<Extent> = Vec::with_capacity(sorted.len());
    for next in sorted {
        if let Some(last) = joined.last_mut()
            && last.cast.is_none()
            && next.cast.is_none()
            && (last.source.0, last.source.1 + last.len) == next.source
            && (last.target.0, last.target.1 + last.len) == next.target
        {
            last.len += next.len;
        } else if next.len > 0 {
            joined.push(next);
        }
    }
    joined
}

/// Hands out extents in the order of the source, in batches that lie together there and fit in a
/// buffer: a batch is one read, however many places its bytes go to.
///
/// Each worker has a stretch of its own, so that it reads on where it was and, as a rule, writes to
/// a file of its own: a file takes one write at a time.
pub(super) struct Queue<'a> {
    buffer: u64,
    stretches: Vec<Mutex<Stretch<'a>>>,
}

/// Extents that follow each other, and how many bytes of the first are taken.
struct Stretch<'a> {
    extents: &'a [Extent],
    taken: u64,
}

/// Where an extent may be cut: a whole number of elements of any type that is not cut inside a byte.
const CUT: u64 = 64;

impl<'a> Queue<'a> {
    /// For so many workers. `buffer` is a multiple of the place where extents may be cut.
    pub fn new(extents: &'a [Extent], buffer: u64, workers: usize) -> Self {
        let bytes: u64 = extents.iter().map(|extent| extent.len).sum();
        let mut stretches = Vec::with_capacity(workers);
        let (mut start, mut before) = (0, 0);
        for worker in 1..=workers as u64 {
            let mut end = start;
            while end < extents.len() && before < bytes / workers as u64 * worker {
                before += extents[end].len;
                end += 1;
            }
            // What rounding left over.
            end = if worker == workers as u64 { extents.len() } else { end };
            stretches.push(Mutex::new(Stretch { extents: &extents[start..end], taken: 0 }));
            start = end;
        }
        Queue { buffer, stretches }
    }

    /// Fills `batch` with what comes next for a worker, or when its own stretch is done, with what
    /// comes next for another one; leaves it empty at the end.
    pub fn take(&self, worker: usize, batch: &mut Vec<Extent>) {
        batch.clear();
        let (before, from) = self.stretches.split_at(worker);
        for stretch in from.iter().chain(before) {
            let mut stretch = stretch.lock().unwrap_or_else(PoisonError::into_inner);
            stretch.take(self.buffer, batch);
            if !batch.is_empty() {
                return;
            }
        }
    }
}

impl Stretch<'_> {
    fn take(&mut self, buffer: u64, batch: &mut Vec<Extent>) {
        let mut room = buffer;
        while let [extent, others @ ..] = self.extents {
            let follows = |last: &Extent| (last.source.0, last.source.1 + last.len);
            let start = (extent.source.0, extent.source.1 + self.taken);
            if batch.last().is_some_and(|last| follows(last) != start) {
                return;
            }
            let left = extent.len - self.taken;
            let len = if left <= room { left } else { room / CUT * CUT };
            if len == 0 {
                return;
            }
            batch.push(extent.part(self.taken, len));
            room -= len;
            self.taken += len;
            if len == left {
                (self.extents, self.taken) = (others, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(source: u64, target: u64, len: u64) -> Extent {
        Extent { source: (0, source), target: (0, target), len, output: 0, cast: None }
    }

    fn batches(extents: &[Extent], buffer: u64) -> Vec<Vec<Extent>> {
        let queue = Queue::new(extents, buffer, 1);
        let take = || {
            let mut batch = Vec::new();
            queue.take(0, &mut batch);
            (!batch.is_empty()).then_some(batch)
        };
        std::iter::from_fn(take).collect()
    }

    #[test]
    fn neighbours_join() {
        let joined = coalesce(vec![extent(0, 100, 10), extent(10, 110, 5), extent(15, 0, 5)]);
        assert_eq!(joined, [extent(0, 100, 15), extent(15, 0, 5)]);
    }

    #[test]
    fn a_batch_lies_together_in_the_source_and_fits_in_the_buffer() {
        let (a, b, c) = (extent(0, 1000, 100), extent(100, 500, 30), extent(200, 0, 300));
        let got = batches(&[a, b, c], 128);
        let want = [
            // What is left of the buffer does not hold `b`, which cannot be cut so short.
            vec![a],
            vec![b],
            vec![extent(200, 0, 128)],
            vec![extent(328, 128, 128)],
            vec![extent(456, 256, 44)],
        ];
        assert_eq!(got, want);
        assert_eq!(batches(&[a, b], 192), [[a, b]]);
        assert!(batches(&[], 64).is_empty());
    }

    #[test]
    fn workers_begin_apart_and_help_each_other() {
        let extents: Vec<Extent> = (0..5).map(|n| extent(n * 1000, n * 1000, 64)).collect();
        for workers in [1, 2, 3, 9] {
            let queue = Queue::new(&extents, 64, workers);
            let mut batch = Vec::new();
            let mut taken = Vec::new();
            for worker in (0..workers).rev().chain([0; 9]) {
                queue.take(worker, &mut batch);
                taken.extend_from_slice(&batch);
            }
            assert!(workers != 2 || taken[0] == extents[3], "{taken:?}");
            taken.sort_unstable();
            assert_eq!(taken, extents, "{workers} workers");
        }
    }

    #[test]
    fn a_cast_moves_the_target_by_its_own_size() {
        let cast = Some((Dtype::F32, Dtype::Bf16));
        let got = batches(&[Extent { cast, ..extent(0, 100, 128) }], 64);
        assert_eq!(got[1][0].target, (0, 132));
        assert_eq!(got[1][0].target_len(), 32);
    }
}

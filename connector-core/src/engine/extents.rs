use crate::base::parallel;
use crate::plan::{Plan, Work};
use crate::store::{Dtype, FileId, Landing, Part, Rows, Source, landings, room};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes that lie together in the source, and together or in rows equally far apart in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub source: (FileId, u64),
    pub target: (FileId, u64),
    /// The number of bytes of a row in the source.
    pub len: u64,
    /// The number of rows: 1 but for pieces that are narrower than their tensor.
    pub rows: u64,
    /// How many bytes of the target lie from the beginning of a row to that of the next.
    pub step: u64,
    /// The output they belong to.
    pub output: usize,
    /// Their type on both sides, if it changes.
    pub cast: Option<(Dtype, Dtype)>,
}

impl Extent {
    /// The number of its bytes in the source.
    pub fn bytes(&self) -> u64 {
        self.len * self.rows
    }

    /// The number of its bytes in the target.
    pub fn target_bytes(&self) -> u64 {
        self.cast_len(self.bytes())
    }

    /// The number of bytes of a row in the target.
    pub fn target_row(&self) -> u64 {
        self.cast_len(self.len)
    }

    fn cast_len(&self, len: u64) -> u64 {
        match self.cast {
            Some((from, to)) => len * to.bits() / from.bits(),
            None => len,
        }
    }

    /// How many bytes in the source the whole elements have that fit in `len` bytes of the target.
    fn source_len(&self, len: u64) -> u64 {
        match self.cast {
            Some((from, to)) => len * 8 / to.bits() * from.bits() / 8,
            None => len,
        }
    }

    /// Of an extent of one row, where the byte `at` goes, counted in the source.
    fn target_at(&self, at: u64) -> (FileId, u64) {
        (self.target.0, self.target.1 + self.cast_len(at))
    }

    /// Of an extent of one row, where it ends.
    fn target_end(&self) -> (FileId, u64) {
        self.target_at(self.bytes())
    }

    /// Where in its file of the source it lies.
    pub fn source_range(&self) -> Range<u64> {
        self.source.1..self.source.1 + self.bytes()
    }

    /// Whether `next` lies behind it in the source, and both are moved as they are.
    pub fn reads_on(&self, next: &Extent) -> bool {
        self.cast.is_none()
            && next.cast.is_none()
            && (self.source.0, self.source.1 + self.bytes()) == next.source
    }

    /// Of an extent of one row the `len` bytes from `at` on, counted in the source.
    pub fn part(&self, at: u64, len: u64) -> Extent {
        Extent {
            source: (self.source.0, self.source.1 + at),
            target: self.target_at(at),
            len,
            ..*self
        }
    }

    /// What comes next behind its first `at` bytes, counted in the source: as many whole rows as
    /// `most` bytes hold, or a part of one row; `None` if not even what can be cut is that short.
    fn next(&self, at: u64, most: u64) -> Option<Extent> {
        let (row, inside) = (at / self.len, at % self.len);
        let (rows, len) = match most / self.len {
            rows @ 1.. if inside == 0 => (rows.min(self.rows - row), self.len),
            _ if self.len - inside <= most => (1, self.len - inside),
            _ => (1, most / CUT * CUT),
        };
        (len > 0).then(|| Extent {
            source: (self.source.0, self.source.1 + at),
            target: (self.target.0, self.target.1 + row * self.step + self.cast_len(inside)),
            len,
            rows,
            ..*self
        })
    }
}

/// The extents of `steps` in the order of the target. Those in rows come last: the pieces of a tensor,
/// which each have a share of all its pages, one after the other.
pub(super) fn extents(
    plan: &Plan,
    source: &dyn Source,
    places: &[Vec<Part>],
    steps: &[usize],
) -> Vec<Extent> {
    let mut all = parallel::ranges(steps.len(), |range| {
        let mut some = Vec::with_capacity(range.len());
        steps[range].iter().for_each(|&step| of_step(plan, source, places, step, &mut some));
        some
    });
    all.sort_unstable_by_key(|extent| (extent.rows > 1, extent.target, extent.source));
    coalesce(&mut all);
    all
}

/// At which byte of its file each output begins that is moved as it is.
pub(crate) fn origins(plan: &Plan, source: &dyn Source) -> Vec<Option<u64>> {
    let mut origins = vec![None; plan.outputs.len()];
    for step in &plan.steps {
        let Work::Moves(moves) = &step.work else { continue };
        for m in moves.iter().filter(|m| m.to == 0) {
            let (input, number) = (step.inputs[m.source], step.outputs[m.target]);
            let (tensor, output) = (&source.tensors()[input.tensor], &plan.outputs[number]);
            // Of a stack, the slice of the first index.
            if output.dtype == output.made_as && m.from == 0 && input.index.is_none_or(|i| i == 0) {
                origins[number] = tensor.runs(0, 1).first().map(|run| run.offset);
            }
        }
    }
    origins
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
        let target = Target {
            parts: &places[number],
            output: number,
            dtypes: (tensor.dtype, output.dtype),
            cast: (output.dtype != output.made_as).then_some((output.made_as, output.dtype)),
        };
        for (from, to, len) in m.runs() {
            for rows in tensor.rows(base + from, len) {
                target.place(rows, to + (rows.at - base - from), all);
            }
        }
    }
}

/// Where rows of a tensor go.
struct Target<'a> {
    parts: &'a [Part],
    output: usize,
    /// The types of the elements in the source and in the target.
    dtypes: (Dtype, Dtype),
    cast: Option<(Dtype, Dtype)>,
}

impl Target<'_> {
    /// Adds the extents of rows of which the first becomes element `to` of the output.
    fn place(&self, rows: Rows, to: u64, all: &mut Vec<Extent>) {
        let Rows { file, offset, len, count, step, .. } = rows;
        let (from, into) = self.dtypes;
        let bytes = |elements: u64| elements * into.bits() / 8;
        let in_source = |bytes: u64| bytes * from.bits() / into.bits();
        let extent = |offset: u64, landing: Landing, rows: u64| Extent {
            source: (file, offset),
            target: (landing.file, landing.offset),
            len: in_source(landing.len),
            rows,
            step: bytes(step),
            output: self.output,
            cast: self.cast,
        };
        let (row, step_bytes) = (bytes(len), bytes(step));
        let mut number = 0;
        while number < count {
            let mut offset = offset + number * in_source(row);
            let start = bytes(to) + number * step_bytes;
            // The rows that lie whole in the part of the output in which this one begins.
            let room = room(self.parts, start);
            let fit = room.checked_sub(row).map_or(0, |more| 1 + more / step_bytes.max(1));
            let fit = fit.min(count - number);
            let (pieces, rows) = if fit > 1 { (row, fit) } else { (row, 1) };
            for landing in landings(self.parts, start, pieces) {
                all.push(extent(offset, landing, rows));
                offset += in_source(landing.len);
            }
            number += rows;
        }
    }
}

/// Joins extents that continue each other on both sides.
fn coalesce(sorted: &mut Vec<Extent>) {
    sorted.retain(|extent| extent.bytes() > 0);
    sorted.dedup_by(|next, last| {
        let continues = (last.rows, next.rows) == (1, 1)
            && last.reads_on(next)
            && last.target_end() == next.target;
        if continues {
            last.len += next.len;
        }
        continues
    });
}

/// Hands out extents in the order of the target, in batches that lie together there and end where the
/// file's next buffer begins: a batch is one write, however many places its bytes come from.
///
/// A write is what costs, for a file takes one at a time, and the system makes room for it in its
/// cache. It does so in few large pieces where writes begin at multiples of their size
/// (`PERFORMANCE.md`). Each worker has a stretch of its own, so that it goes on where it was and, of
/// several files, as a rule writes to one of its own.
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
        let bytes: u64 = extents.iter().map(Extent::bytes).sum();
        let mut stretches = Vec::with_capacity(workers);
        let (mut start, mut before) = (0, 0);
        for worker in 1..=workers as u64 {
            let mut end = start;
            while end < extents.len() && before < bytes / workers as u64 * worker {
                before += extents[end].bytes();
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
            let part = if extent.rows > 1 {
                extent.next(self.taken, buffer).filter(|_| batch.is_empty())
            } else {
                let (file, at) = extent.target_at(self.taken);
                match batch.last() {
                    None => room = buffer - at % buffer,
                    Some(last) if last.target_end() == (file, at) => {}
                    Some(_) => return,
                }
                let left = extent.bytes() - self.taken;
                let len = match extent.source_len(room) {
                    // Not one element; a batch that begins there is as large as the others.
                    0 if batch.is_empty() => extent.source_len(buffer),
                    len => len,
                };
                (len > 0).then(|| extent.part(self.taken, len.min(left)))
            };
            let Some(part) = part else { return };
            batch.push(part);
            room = room.saturating_sub(part.target_bytes());
            self.taken += part.bytes();
            if self.taken == extent.bytes() {
                (self.extents, self.taken) = (others, 0);
            }
            if part.rows > 1 || room == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(source: u64, target: u64, len: u64) -> Extent {
        let (source, target) = ((0, source), (0, target));
        Extent { source, target, len, rows: 1, step: 0, output: 0, cast: None }
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
        let mut joined = vec![extent(0, 100, 10), extent(10, 110, 5), extent(15, 0, 5)];
        coalesce(&mut joined);
        assert_eq!(joined, [extent(0, 100, 15), extent(15, 0, 5)]);
    }

    #[test]
    fn a_batch_lies_together_in_the_target_and_ends_where_a_buffer_does() {
        let (a, b, c) = (extent(500, 100, 100), extent(0, 200, 30), extent(900, 300, 300));
        let got = batches(&[a, b, c], 128);
        let want = [
            vec![extent(500, 100, 28)],
            // The rest of `a`, and `b`, which lies elsewhere in the source.
            vec![extent(528, 128, 72), extent(0, 200, 30)],
            vec![extent(900, 300, 84)],
            vec![extent(984, 384, 128)],
            vec![extent(1112, 512, 88)],
        ];
        assert_eq!(got, want);
        assert!(batches(&[], 64).is_empty());
    }

    #[test]
    fn workers_begin_apart_and_help_each_other() {
        let extents: Vec<Extent> = (0..5).map(|n| extent(n * 1000, n * 1024, 64)).collect();
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
        let places: Vec<_> = got.iter().map(|batch| (batch[0].source.1, batch[0].target)).collect();
        assert_eq!(places, [(0, (0, 100)), (56, (0, 128))]);
        assert_eq!(got[1][0].target_bytes(), 36);
        // Where not one element fits before the next buffer.
        let odd = batches(&[Extent { cast, ..extent(0, 63, 256) }], 64);
        assert_eq!(odd.iter().flatten().map(Extent::target_bytes).collect::<Vec<_>>(), [64, 64]);
    }

    #[test]
    fn rows_are_cut_between_each_other_or_where_one_may_be() {
        let rows = Extent { rows: 5, step: 1000, ..extent(0, 100, 64) };
        let row = |number: u64, rows: u64| Extent {
            rows,
            step: 1000,
            ..extent(number * 64, 100 + number * 1000, 64)
        };
        assert_eq!(batches(&[rows], 128), [[row(0, 2)], [row(2, 2)], [row(4, 1)]]);
        let long = Extent { rows: 2, step: 1000, ..extent(0, 100, 100) };
        let part =
            |at: u64, target: u64, len: u64| vec![Extent { step: 1000, ..extent(at, target, len) }];
        let want = [part(0, 100, 64), part(64, 164, 36), part(100, 1100, 64), part(164, 1164, 36)];
        assert_eq!(batches(&[long], 64), want);
        let cast = Some((Dtype::F32, Dtype::Bf16));
        let got = batches(&[Extent { cast, ..long }], 64);
        assert_eq!((got[1][0].target, got[3][0].target), ((0, 132), (0, 1132)));
    }

    #[test]
    fn rows_stay_together_within_a_part_of_the_output() {
        let part = |at, file| Part { at, file, offset: 0 };
        let parts = [part(0, 0), part(100, 1)];
        let target =
            Target { parts: &parts, output: 0, dtypes: (Dtype::U8, Dtype::U8), cast: None };
        let rows = Rows { file: 0, offset: 7, at: 10, len: 20, count: 6, step: 40 };
        let mut all = Vec::new();
        target.place(rows, 10, &mut all);
        let got: Vec<_> = all.iter().map(|e| (e.source.1, e.target, e.len, e.rows)).collect();
        // The third row, bytes 90 to 110, lies in both parts.
        let want =
            [(7, (0, 10), 20, 2), (47, (0, 90), 10, 1), (57, (1, 0), 10, 1), (67, (1, 30), 20, 3)];
        assert_eq!(got, want);
    }
}

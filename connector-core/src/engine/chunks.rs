use crate::plan::{Plan, Work};
use crate::store::{Dtype, FileId, Part, Source, landings};

/// Bytes that lie together on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chunk {
    pub source: (FileId, u64),
    pub target: (FileId, u64),
    /// Their number in the source.
    pub len: u64,
    /// The output they belong to.
    pub output: usize,
    /// Their type on both sides, if it changes.
    pub cast: Option<(Dtype, Dtype)>,
}

impl Chunk {
    /// Their number in the target.
    pub fn target_len(&self) -> u64 {
        match self.cast {
            Some((from, to)) => self.len * to.bits() / from.bits(),
            None => self.len,
        }
    }
}

/// The chunks of `steps`, each at most `buffer` bytes, in the order of the source files.
pub(super) fn chunks(
    plan: &Plan,
    source: &dyn Source,
    places: &[Vec<Part>],
    steps: &[usize],
    buffer: u64,
) -> Vec<Chunk> {
    let mut all = Vec::new();
    for &step in steps {
        extents(plan, source, places, step, &mut all);
    }
    all.sort_unstable();
    coalesce(all).into_iter().flat_map(|extent| cut(extent, buffer)).collect()
}

/// The runs of one step, in bytes.
fn extents(
    plan: &Plan,
    source: &dyn Source,
    places: &[Vec<Part>],
    step: usize,
    all: &mut Vec<Chunk>,
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
                    all.push(Chunk {
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
fn coalesce(sorted: Vec<Chunk>) -> Vec<Chunk> {
    let mut joined: Vec<Chunk> = Vec::with_capacity(sorted.len());
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

/// Cuts an extent so that neither side exceeds a buffer by more than a cast makes it grow.
fn cut(extent: Chunk, buffer: u64) -> impl Iterator<Item = Chunk> {
    (0..extent.len).step_by(buffer as usize).map(move |at| {
        let part = Chunk { len: buffer.min(extent.len - at), ..extent };
        let skipped = Chunk { len: at, ..extent }.target_len();
        Chunk {
            source: (extent.source.0, extent.source.1 + at),
            target: (extent.target.0, extent.target.1 + skipped),
            ..part
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(source: u64, target: u64, len: u64) -> Chunk {
        Chunk { source: (0, source), target: (0, target), len, output: 0, cast: None }
    }

    #[test]
    fn neighbours_join_and_long_extents_are_cut() {
        let joined = coalesce(vec![chunk(0, 100, 10), chunk(10, 110, 5), chunk(15, 0, 5)]);
        assert_eq!(joined, [chunk(0, 100, 15), chunk(15, 0, 5)]);
        let parts: Vec<_> = cut(chunk(0, 100, 25), 10).collect();
        assert_eq!(parts, [chunk(0, 100, 10), chunk(10, 110, 10), chunk(20, 120, 5)]);
    }

    #[test]
    fn a_cast_moves_the_target_by_its_own_size() {
        let cast = Some((Dtype::F32, Dtype::Bf16));
        let parts: Vec<_> = cut(Chunk { cast, ..chunk(0, 100, 16) }, 8).collect();
        assert_eq!(parts[1].target, (0, 104));
        assert_eq!(parts[1].target_len(), 4);
    }
}

//! Elements that a plan takes nowhere, though it reads others of their tensor.

use super::{Act, Input, Plan, Step, Work};
use crate::base::TensorInfo;
use crate::mapping::{Direction, FlatMapping};
use crate::transform::{Class, Move, Operation, Transform, gaps, ops};
use std::collections::{BTreeMap, HashSet};

/// Elements of a tensor that go nowhere: the rows that `prune_vocab` leaves out, say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The tensor, by its number in the source.
    pub tensor: usize,
    /// The rule that reads the others, by its number in
    /// [`FlatMapping::rules`](crate::mapping::FlatMapping::rules).
    pub rule: usize,
    /// The tensor between two operations of which they are elements; `None` if they are the source's.
    pub between: Option<Between>,
    /// The dimensions of what they are elements of.
    pub shape: Vec<usize>,
    /// The first element and the number of elements of each run, in row-major order.
    pub runs: Vec<(u64, u64)>,
}

/// A tensor that one operation of a step gives to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Between {
    /// The step, by its number in [`Plan::steps`].
    pub step: usize,
    /// The operation that is given it.
    pub stage: usize,
    /// Which one of those that the operation is given.
    pub source: usize,
}

impl Dropped {
    /// How many there are.
    pub fn elements(&self) -> u64 {
        self.runs.iter().map(|(_, len)| len).sum()
    }

    /// Which ones: `rows 97 to 127`.
    pub fn text(&self) -> String {
        let width = self.shape.iter().skip(1).map(|&n| n as u64).product::<u64>().max(1);
        let rows = self.runs.iter().all(|(from, len)| from % width == 0 && len % width == 0);
        let (name, unit) = if rows { ("row", width) } else { ("element", 1) };
        let ranges: Vec<String> = (self.runs.iter().take(4))
            .map(|(from, len)| (from / unit, (from + len) / unit - 1))
            .map(|(first, last)| match last - first {
                0 => first.to_string(),
                _ => format!("{first} to {last}"),
            })
            .collect();
        let s = if self.elements() > unit { "s" } else { "" };
        let more = if self.runs.len() > 4 { " and so on" } else { "" };
        format!("{name}{s} {}{more}", ranges.join(", "))
    }
}

impl Plan {
    /// Whether these are rows behind the last token of a vocabulary, which an export leaves out: no
    /// token reaches them, and frameworks fill them with whatever they like.
    pub(crate) fn is_vocab_padding(&self, dropped: &Dropped) -> bool {
        let mut operations = self.mapping.rules[dropped.rule].operations.iter();
        self.mapping.direction == Direction::Export
            && operations.any(|operation| operation.name == ops::prune_vocab::OPERATION.name)
    }
}

/// A tensor that a step reads, its elements, and the stretches that are read if those are not all.
type Read = (Input, u64, Option<Vec<(u64, u64)>>);

/// What no step reads of the tensors that steps read in part. `compared` are those that must hold the
/// same bytes as others.
pub(super) fn of_sources(
    steps: &[Step],
    mapping: &FlatMapping,
    tensors: &[TensorInfo],
    compared: impl Iterator<Item = usize>,
) -> Vec<Dropped> {
    let reads = |step: &Step| -> Vec<Read> {
        let len = |input: &Input| {
            let tensor = &tensors[input.tensor];
            tensor.elements() / input.index.map_or(1, |_| tensor.shape[0].max(1) as u64)
        };
        let lens: Vec<u64> = step.inputs.iter().map(len).collect();
        let operations = &mapping.rules[step.rule].operations;
        let parts = match &step.work {
            Work::Moves(moves) => in_part(moves, &lens, operations),
            Work::Compute { stages, calls } => match &stages[0].act {
                Act::Moves(moves) => {
                    let calls = lens.chunks((lens.len() / (*calls).max(1)).max(1));
                    calls.flat_map(|lens| in_part(moves, lens, &operations[..1])).collect()
                }
                Act::Compute(_) => vec![None; lens.len()],
            },
            Work::Function { .. } => vec![None; lens.len()],
        };
        step.inputs.iter().zip(lens).zip(parts).map(|((&i, len), part)| (i, len, part)).collect()
    };
    // Almost always there are none.
    let mut parts: BTreeMap<usize, (usize, Vec<(u64, u64)>)> = BTreeMap::new();
    for step in steps {
        let of_step = reads(step).into_iter().filter(|(_, _, part)| part.is_some());
        parts.extend(of_step.map(|(input, ..)| (input.tensor, (step.rule, Vec::new()))));
    }
    if parts.is_empty() {
        return Vec::new();
    }
    let mut whole: HashSet<usize> = compared.collect();
    for (input, len, part) in steps.iter().flat_map(reads) {
        let Some((_, all)) = parts.get_mut(&input.tensor) else { continue };
        let base = input.index.map_or(0, |index| index as u64 * len);
        match part {
            None if input.index.is_none() => drop(whole.insert(input.tensor)),
            None => all.push((base, len)),
            Some(runs) => all.extend(runs.into_iter().map(|(from, len)| (base + from, len))),
        }
    }
    let parts = parts.into_iter().filter(|(tensor, _)| !whole.contains(tensor));
    let dropped = parts.map(|(tensor, (rule, runs))| Dropped {
        tensor,
        rule,
        between: None,
        shape: tensors[tensor].shape.clone(),
        runs: gaps(runs, tensors[tensor].elements()),
    });
    dropped.filter(|dropped| !dropped.runs.is_empty()).collect()
}

/// What operations drop of what those before them gave. Where moves could be joined there is nothing
/// in between.
pub(super) fn between(steps: &[Step], mapping: &FlatMapping) -> Vec<Dropped> {
    let mut all = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let Work::Compute { stages, .. } = &step.work else { continue };
        for (stage, pair) in stages.windows(2).enumerate() {
            let Act::Moves(moves) = &pair[1].act else { continue };
            let shapes: Vec<&Vec<usize>> = pair[0].results.iter().map(|(_, shape)| shape).collect();
            let size = |shape: &&Vec<usize>| shape.iter().map(|&n| n as u64).product();
            let lens: Vec<u64> = shapes.iter().map(size).collect();
            let operation = &mapping.rules[step.rule].operations[stage + 1..stage + 2];
            let parts = in_part(moves, &lens, operation).into_iter().enumerate();
            all.extend(parts.filter_map(|(source, part)| {
                Some(Dropped {
                    tensor: step.inputs[0].tensor,
                    rule: step.rule,
                    between: Some(Between { step: number, stage: stage + 1, source }),
                    shape: shapes[source].clone(),
                    runs: gaps(part?, lens[source]),
                })
            }));
        }
    }
    all
}

/// For each source of moves, of `lens` elements, what is read of it, if that is not all.
fn in_part(moves: &[Move], lens: &[u64], operations: &[Operation]) -> Vec<Option<Vec<(u64, u64)>>> {
    let mut moved = vec![0; lens.len()];
    moves.iter().for_each(|m| moved[m.source] += m.elements());
    // Of one that takes each element somewhere once, and as many as there are, nothing is left. That it
    // does, its tests show; to list the runs of each step of a large model would take as long as to
    // plan it.
    let bijective = operations.iter().all(|operation| operation.class == Class::Bijective);
    let part = |(source, (&moved, &len)): (usize, (&u64, &u64))| {
        if bijective && moved == len {
            return None;
        }
        let moves = moves.iter().filter(|m| m.source == source);
        let runs: Vec<(u64, u64)> = moves.flat_map(Move::reads).collect();
        (!gaps(runs.clone(), len).is_empty()).then_some(runs)
    };
    moved.iter().zip(lens).enumerate().map(part).collect()
}

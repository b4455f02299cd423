use super::Job;
use super::cast::{Tally, cast};
use super::dropped::{ReadElements, read_from};
use crate::base::Cancel;
use crate::base::stage::stage;
use crate::engine::Result;
use crate::plan::{Act, Input, Plan, Stage, Work};
use crate::store::{TensorInfo, landings};
use crate::transform::{Kind, Move};

/// Runs a step in memory: one of many short moves (a transpose, interleaved rows), or one that
/// computes.
pub(super) fn run(job: &Job<'_>, number: usize, tally: &Tally) -> Result<()> {
    stage!("rearrange");
    match &job.plan.steps[number].work {
        Work::Moves(moves) => run_moves(job, number, moves, tally),
        Work::Compute { stages, calls } => compute(job, number, stages, *calls, tally),
        Work::Function { .. } => Ok(()),
    }
}

fn compute(
    job: &Job<'_>,
    number: usize,
    stages: &[Stage],
    calls: usize,
    tally: &Tally,
) -> Result<()> {
    let Job { plan, source, .. } = *job;
    let step = &plan.steps[number];
    let (tensors, read) = (source.tensors(), read_from(source));
    for (call, inputs) in step.inputs.chunks(step.inputs.len() / calls.max(1)).enumerate() {
        let bytes = staged(tensors, inputs, stages, &read, job.cancel)?;
        for (&output, bytes) in step.outputs.iter().zip(&bytes) {
            let elements = plan.outputs[output].elements().unwrap_or(0) / calls.max(1) as u64;
            write_part(job, output, call as u64 * elements, bytes, tally)?;
        }
    }
    Ok(())
}

/// What comes out of `stages`, one after the other.
pub(super) fn staged(
    tensors: &[TensorInfo],
    inputs: &[Input],
    stages: &[Stage],
    read: &ReadElements<'_>,
    cancel: &Cancel,
) -> Result<Vec<Vec<u8>>> {
    let kind = |input: &Input| {
        let tensor = &tensors[input.tensor];
        let skip = usize::from(input.index.is_some());
        (tensor.dtype, tensor.shape.get(skip..).unwrap_or_default().to_vec())
    };
    let mut kinds: Vec<Kind> = inputs.iter().map(kind).collect();
    cancel.check()?;
    let inputs = inputs.iter().map(|&input| read_input(tensors, input, read));
    let mut bytes = inputs.collect::<Result<Vec<Vec<u8>>>>()?;
    for Stage { act, results } in stages {
        cancel.check()?;
        let given: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        bytes = match act {
            Act::Compute(operation) => {
                // Of each group one comes out.
                let arity = (given.len() / results.len().max(1)).max(1);
                let groups = kinds.chunks(arity).zip(given.chunks(arity));
                groups.map(|(kinds, given)| operation.run(kinds, given)).collect()
            }
            Act::Moves(moves) => {
                let made = results.iter().enumerate();
                made.map(|(target, kind)| moved(moves, target, &given, kind)).collect()
            }
        };
        kinds.clone_from(results);
    }
    Ok(bytes)
}

/// A target of moves, whole. That no run begins or ends inside a byte was checked when the plan was
/// prepared.
fn moved(moves: &[Move], target: usize, inputs: &[&[u8]], (dtype, shape): &Kind) -> Vec<u8> {
    let size = |elements: u64| (elements * dtype.bits() / 8) as usize;
    let mut bytes = vec![0u8; size(shape.iter().map(|&n| n as u64).product())];
    for m in moves.iter().filter(|m| m.target == target) {
        for (from, to, len) in m.runs() {
            let (from, to, len) = (size(from), size(to), size(len));
            bytes[to..to + len].copy_from_slice(&inputs[m.source][from..from + len]);
        }
    }
    bytes
}

fn run_moves(job: &Job<'_>, number: usize, moves: &[Move], tally: &Tally) -> Result<()> {
    let Job { plan, source, .. } = *job;
    let step = &plan.steps[number];
    let (tensors, read) = (source.tensors(), read_from(source));
    let inputs = step.inputs.iter().map(|&input| read_input(tensors, input, &read));
    let inputs = inputs.collect::<Result<Vec<Vec<u8>>>>()?;
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    for (target, &output) in step.outputs.iter().enumerate() {
        job.cancel.check()?;
        let made = &plan.outputs[output];
        let kind = (made.made_as, made.shape.clone().unwrap_or_default());
        write_part(job, output, 0, &moved(moves, target, &inputs, &kind), tally)?;
    }
    Ok(())
}

/// Where an input begins in its tensor and how long it is, in elements.
pub(super) fn extent(tensor: &TensorInfo, input: Input) -> (u64, u64) {
    let slice = tensor.elements() / tensor.shape.first().map_or(1, |&n| n.max(1) as u64);
    match input.index {
        Some(index) => (index as u64 * slice, slice),
        None => (0, tensor.elements()),
    }
}

fn read_input(tensors: &[TensorInfo], input: Input, read: &ReadElements<'_>) -> Result<Vec<u8>> {
    let tensor = &tensors[input.tensor];
    let (from, len) = extent(tensor, input);
    let size = tensor.dtype.size(len).unwrap_or_else(|| tensor.bytes());
    let mut bytes = vec![0; size as usize];
    read(input.tensor, from, len, &mut bytes)?;
    Ok(bytes)
}

/// Writes a part of an output that begins at element `first`, a buffer at a time, cast on the way if its
/// type changes. The first write ends where the file's next buffer begins, so that the others are aligned: they cost half.
pub(super) fn write_part(
    job: &Job<'_>,
    number: usize,
    first: u64,
    bytes: &[u8],
    tally: &Tally,
) -> Result<()> {
    let Plan { outputs, .. } = job.plan;
    let output = &outputs[number];
    let mut at = output.dtype.size(first).unwrap_or(0);
    let mut converted = Vec::new();
    let buffer = job.prepared.buffer as u64;
    let start = landings(&job.places[number], at, 1).next().map_or(0, |landing| landing.offset);
    // So many whole elements as fit.
    let head = (buffer - start % buffer) * 8 / output.dtype.bits() * output.made_as.bits() / 8;
    let (head, rest) = bytes.split_at((head as usize).min(bytes.len()));
    for part in [head].into_iter().chain(rest.chunks(job.prepared.buffer)) {
        job.cancel.check()?;
        let written: &[u8] = if output.dtype == output.made_as {
            part
        } else {
            let len = part.len() as u64 * output.dtype.bits() / output.made_as.bits();
            converted.resize(len as usize, 0);
            tally.add(number, cast(part, output.made_as, &mut converted, output.dtype));
            &converted
        };
        let mut rest = written;
        for landing in landings(&job.places[number], at, written.len() as u64) {
            let (here, others) = rest.split_at(landing.len as usize);
            job.sink.write_at(landing.file, landing.offset, here)?;
            rest = others;
        }
        at += written.len() as u64;
        job.progress.advance(written.len() as u64);
    }
    Ok(())
}

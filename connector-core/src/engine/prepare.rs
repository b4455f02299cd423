use super::buffer::BLOCK;
use crate::base::{Advice, options};
use crate::plan::{Act, Finding, FindingKind, Output, Plan, Work};
use crate::store::{Dtype, Pieces, Source, TensorInfo};
use crate::transform::{Kind, Move};
use serde::Serialize;

options! {
/// How a plan is run.
pub struct EngineOptions {
    /// How many threads move bytes; at least 1.
    pub threads: usize = threads(),
    /// The most memory, in bytes, that buffers and the tensors of a step may take together.
    pub max_memory: u64 = 2 << 30,
    /// How bytes get from file to file.
    pub io: Io = Io::default(),
    /// Whether an output is on the disk before it appears under its name. Without it, a power cut
    /// soon after may leave an output with holes of zeros.
    pub sync: bool = true,
}
}

/// Two cores that share one disk gain nothing from more threads, and no disk that was measured gains
/// from more than four.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// How bytes that need no cast get from file to file. What is written is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Io {
    /// Blocks are shared where the file system can (reflinks of XFS, Btrfs and others) and a tensor
    /// lies at the same place within a block on both sides; the rest goes through a buffer.
    #[default]
    Auto,
    /// Through a buffer.
    Buffered,
    /// Blocks are shared as with `Auto`; the rest goes through a buffer and past the system's cache
    /// (`O_DIRECT`), which takes a fifth of the processors' time and leaves in the cache what other
    /// programs have there: for large sources that are not in it (`PERFORMANCE.md`). On Linux; where
    /// the system or a file system cannot, through the cache, with a warning. Through the cache go
    /// runs of less than 64 KiB, the edges of what is written, and what is read back for hashes.
    Direct,
    /// Blocks are shared, else the kernel copies, where the system and the file systems can
    /// (`copy_file_range`): between two places on one server of NFS, SMB or Ceph the bytes then do
    /// not cross the network. On a local disk a buffer is faster, measured (`PERFORMANCE.md`).
    Copy,
}

/// The size of a thread's buffer where memory allows: large enough that the cost of a request
/// does not show, small enough that what was read is still in the cache of a core when it is
/// written. Twice as much is as fast on a good day and three times as slow on a bad one
/// (`PERFORMANCE.md`).
const BUFFER: u64 = 128 << 10;
/// The same where the kernel copies: a request to a server takes a while, whatever its size.
const KERNEL_COPY: u64 = 4 << 20;
/// The same past the system's cache: each request waits for the disk.
const DIRECT: u64 = 1 << 20;
/// The smallest useful buffer.
const SMALLEST_BUFFER: u64 = 64 << 10;
/// Each thread has a buffer to read into and one to cast into, which can be twice as large
/// (`bf16` to `f32`) or more (`f16` to `f64`).
const BUFFERS_PER_THREAD: u64 = 5;
/// And past the system's cache one between each of them and a disk that wants whole blocks.
const DIRECT_BUFFERS_PER_THREAD: u64 = 7;
/// What a thread's buffers take so that they begin at a block, and hold the rest of two more on the
/// way to a disk that wants whole ones.
const PADDING: u64 = 8 * BLOCK as u64;
/// A step whose runs are shorter than this is done in memory: a request for each would cost more
/// than the copy.
const SHORTEST_RUN: u64 = 4 << 10;

/// A plan cut into pieces of work, with the memory that they take.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The size of one buffer, in bytes.
    pub(super) buffer: usize,
    pub(super) threads: usize,
    pub(super) io: Io,
    pub(super) sync: bool,
    /// The steps whose bytes only move or are cast.
    pub(super) moved: Vec<usize>,
    /// The steps that move elements in memory.
    pub(super) whole: Vec<usize>,
    /// The steps that call a user's function.
    pub(super) functions: Vec<usize>,
    /// The bytes that will be written.
    pub bytes: u64,
    /// The memory that running takes.
    pub bound: Bound,
}

/// The memory that running a plan takes, in bytes, beside the program itself.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Bound {
    /// The buffers.
    pub pool: u64,
    /// The sources and results of the largest step that is done in memory. What a user's
    /// function allocates inside comes on top.
    pub step: u64,
    /// What is known of each tensor: the headers and indices of both sides, the plan, the record. It
    /// grows with their number, whatever their size.
    pub tables: u64,
    /// The target of that step.
    pub largest: Option<String>,
}

impl Bound {
    /// All together.
    pub fn total(&self) -> u64 {
        self.pool + self.step + self.tables
    }
}

/// What tables take, measured with 100,000 tensors (`tests/tests/memory.rs` holds it for 20,000), and a
/// quarter more: of any run, of a source's tensor and each of its pieces, of an output, and of each
/// byte of a name, which stands in several of them.
const TABLES: u64 = 4 << 20;
const PER_TENSOR: u64 = 250;
const PER_PIECE: u64 = 600;
const PER_OUTPUT: u64 = 1200;
const PER_BYTE_OF_NAME: u64 = 5;

fn tables(plan: &Plan, source: &dyn Source) -> u64 {
    let of_tensor = |tensor: &TensorInfo| {
        let pieces = match &tensor.pieces {
            Pieces::Whole { .. } => 0,
            Pieces::Boxes(boxes) => boxes.len() as u64,
        };
        PER_TENSOR + PER_BYTE_OF_NAME * tensor.name.len() as u64 + PER_PIECE * pieces
    };
    let of_output = |output: &Output| PER_OUTPUT + PER_BYTE_OF_NAME * output.name.len() as u64;
    let tensors: u64 = source.tensors().iter().map(of_tensor).sum();
    TABLES + tensors + plan.outputs.iter().map(of_output).sum::<u64>()
}

impl Prepared {
    /// Cuts `plan` into pieces of work.
    ///
    /// # Errors
    /// A finding if `max_memory` does not suffice, naming the rule that takes most, or if a
    /// type whose elements share bytes would have to be cut inside a byte.
    pub fn new(
        plan: &Plan,
        source: &dyn Source,
        options: &EngineOptions,
    ) -> Result<Prepared, Vec<Finding>> {
        let kinds = Kinds::new(plan, source)?;
        let Room { buffer, step, largest } = Room::new(plan, source, &kinds, options)?;
        let threads = options.threads.max(1);
        Ok(Prepared {
            buffer: buffer as usize,
            threads,
            io: options.io,
            sync: options.sync,
            moved: kinds.moved,
            whole: kinds.whole,
            functions: kinds.functions,
            bytes: plan.outputs.iter().filter_map(|output| output.bytes()).sum(),
            bound: Bound {
                pool: pool(options, buffer),
                step,
                tables: tables(plan, source),
                largest,
            },
        })
    }

    /// The checks of [`Prepared::new`] alone: before functions are tried out, which takes as much memory
    /// as running them, and says what shapes they give.
    #[cfg(feature = "candle")]
    pub fn check(
        plan: &Plan,
        source: &dyn Source,
        options: &EngineOptions,
    ) -> Result<(), Vec<Finding>> {
        Room::new(plan, source, &Kinds::new(plan, source)?, options).map(drop)
    }
}

/// The steps by how they are done.
struct Kinds {
    moved: Vec<usize>,
    whole: Vec<usize>,
    functions: Vec<usize>,
}

impl Kinds {
    fn new(plan: &Plan, source: &dyn Source) -> Result<Self, Vec<Finding>> {
        let mut kinds = Kinds { moved: Vec::new(), whole: Vec::new(), functions: Vec::new() };
        for (number, step) in plan.steps.iter().enumerate() {
            let moves = match &step.work {
                Work::Moves(moves) => moves.as_slice(),
                Work::Compute { .. } => &[],
                Work::Function { .. } => {
                    kinds.functions.push(number);
                    continue;
                }
            };
            let dtype = source.tensors()[step.inputs[0].tensor].dtype;
            if !in_stages(&step.work)
                .chain([(moves, dtype)])
                .all(|(moves, dtype)| whole_bytes(moves, dtype))
            {
                let name = &plan.outputs[step.outputs[0]].name;
                let problem =
                    format!("{dtype} elements share bytes and would have to be cut inside one");
                let rule = plan.mapping.rules[step.rule].rule.at;
                return Err(vec![Finding::new(FindingKind::Dtype, name, problem).rule(rule)]);
            }
            let short = |m: &Move| {
                let mut runs = m.runs();
                let len = runs.next().map_or(0, |(_, _, len)| len);
                runs.next().is_some() && dtype.size(len).is_none_or(|bytes| bytes < SHORTEST_RUN)
            };
            if matches!(step.work, Work::Compute { .. }) || moves.iter().any(short) {
                kinds.whole.push(number)
            } else {
                kinds.moved.push(number)
            }
        }
        Ok(kinds)
    }
}

/// How the memory is shared out.
struct Room {
    buffer: u64,
    step: u64,
    largest: Option<String>,
}

impl Room {
    fn new(
        plan: &Plan,
        source: &dyn Source,
        kinds: &Kinds,
        options: &EngineOptions,
    ) -> Result<Self, Vec<Finding>> {
        let in_memory = kinds.whole.iter().chain(&kinds.functions);
        let largest = in_memory.map(|&step| (step_bytes(plan, source, step), step)).max();
        let step = largest.map_or(0, |(bytes, _)| bytes);
        let room = options.max_memory.saturating_sub(step) / options.threads.max(1) as u64;
        let room = room.saturating_sub(PADDING) / buffers_per_thread(options.io);
        if room < SMALLEST_BUFFER {
            return Err(vec![too_large(plan, options, step, largest.map(|l| l.1))]);
        }
        // A whole number of elements of any type, and of pages.
        let most = match options.io {
            Io::Auto | Io::Buffered => BUFFER,
            Io::Direct => DIRECT,
            Io::Copy => KERNEL_COPY,
        };
        let buffer = room.min(most) / SMALLEST_BUFFER * SMALLEST_BUFFER;
        let name = |(_, step): (u64, usize)| plan.outputs[plan.steps[step].outputs[0]].name.clone();
        Ok(Room { buffer, step, largest: largest.map(name) })
    }
}

/// How many buffers a thread may fill.
fn buffers_per_thread(io: Io) -> u64 {
    if io == Io::Direct { DIRECT_BUFFERS_PER_THREAD } else { BUFFERS_PER_THREAD }
}

/// The bytes that all threads have together, with buffers of this size.
fn pool(options: &EngineOptions, buffer: u64) -> u64 {
    options.threads.max(1) as u64 * (buffer * buffers_per_thread(options.io) + PADDING)
}

/// The moves that are done in memory among other operations, and the type of what they move.
fn in_stages(work: &Work) -> impl Iterator<Item = (&[Move], Dtype)> {
    let stages = match work {
        Work::Compute { stages, .. } => stages.as_slice(),
        Work::Moves(_) | Work::Function { .. } => &[],
    };
    stages.iter().filter_map(|stage| match &stage.act {
        Act::Moves(moves) => Some((moves.as_slice(), stage.results.first()?.0)),
        Act::Compute(_) => None,
    })
}

/// Whether every run begins and ends between bytes.
fn whole_bytes(moves: &[Move], dtype: Dtype) -> bool {
    let whole = |n: &u64| dtype.size(*n).is_some();
    dtype.bytes().is_some()
        || moves
            .iter()
            .flat_map(Move::runs)
            .all(|(from, to, len)| [from, to, len].iter().all(whole))
}

/// What a step holds in memory: its sources and results, of one call.
fn step_bytes(plan: &Plan, source: &dyn Source, step: usize) -> u64 {
    let step = &plan.steps[step];
    let tensors = source.tensors();
    let inputs: u64 = step
        .inputs
        .iter()
        .map(|input| match input.index {
            Some(_) => tensors[input.tensor].bytes() / tensors[input.tensor].shape[0].max(1) as u64,
            None => tensors[input.tensor].bytes(),
        })
        .sum();
    let outputs: u64 = step
        .outputs
        .iter()
        .filter_map(|&output| {
            let output = &plan.outputs[output];
            output.made_as.size(output.elements()?)
        })
        .sum();
    // A function's results may have a shape that only it knows; like its sources, then.
    let outputs = if outputs == 0 { inputs } else { outputs };
    match &step.work {
        Work::Moves(_) => inputs + outputs,
        Work::Function { calls } => (inputs + outputs).div_ceil(*calls as u64),
        // What a stage is given, and what it makes.
        Work::Compute { stages, calls } => {
            let bytes =
                |(dtype, shape): &Kind| dtype.size(shape.iter().map(|&n| n as u64).product());
            let made = stages.iter().map(|s| s.results.iter().filter_map(bytes).sum::<u64>());
            let mut given = inputs.div_ceil(*calls as u64);
            made.map(|made| std::mem::replace(&mut given, made) + made).max().unwrap_or(0)
        }
    }
}

fn too_large(plan: &Plan, options: &EngineOptions, bytes: u64, step: Option<usize>) -> Finding {
    let least = bytes + pool(options, SMALLEST_BUFFER);
    let finding = match step {
        Some(step) => {
            let step = &plan.steps[step];
            let rule = &plan.mapping.rules[step.rule];
            let name = &plan.outputs[step.outputs[0]].name;
            let problem = format!("{} takes {bytes} bytes in memory", rule.name());
            Finding::new(FindingKind::Resource, name, problem).rule(rule.rule.at)
        }
        None => Finding::new(FindingKind::Resource, "the memory", "is too little for the buffers"),
    };
    finding
        .note(format!("{} bytes are allowed", options.max_memory))
        .advise(Advice::AllowMemory { least })
}

//! Runs a plan: reads by position, moves or converts, writes at known offsets.
//!
//! What only moves bytes is a list of extents, which a few threads take in the order of the target
//! files, each with a buffer of its own. A user's function runs one step at a time. So the memory
//! is a fixed pool plus the largest single step, whatever the size of the model; [`Bound`]
//! states it before anything is written.

mod against;
mod buffer;
mod cast;
mod compare;
mod copy;
mod direct;
mod dropped;
mod error;
mod extents;
mod flush;
#[cfg(feature = "candle")]
mod function;
mod kernel;
#[cfg(feature = "candle")]
mod memory;
mod prepare;
mod put;
mod whole;

pub use crate::base::{NoProgress, Progress};
pub(crate) use against::{Against, Mismatch};
pub use cast::{Loss, cast};
pub use dropped::NotZero;
pub(crate) use dropped::{lost, not_zero, read_from};
pub use error::{Error, Result};
pub(crate) use extents::origins;
pub(crate) use prepare::Prepared;
pub use prepare::{Bound, EngineOptions, Io};
pub(crate) use put::put;
#[cfg(feature = "candle")]
pub(crate) use {
    function::{from_candle_dtype, probe, read_input, read_tensor, tensor_bytes, to_candle_dtype},
    memory::{among, read_among, run_in_memory, run_step},
};

use direct::{DirectSink, DirectSource};

use crate::base::Cancel;
use crate::base::stage::stage;
use crate::plan::Plan;
use crate::schema::Instance;
use crate::store::{Part, Sink, Source, file_count};
use crate::transform::Config;

/// What a plan runs on.
pub(crate) struct Job<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The plan's chunks and memory.
    pub prepared: &'a Prepared,
    /// Where the tensors are read.
    pub source: &'a dyn Source,
    /// Where they are written.
    pub sink: &'a dyn Sink,
    /// The parts of each output, by its number in [`Plan::outputs`].
    pub places: &'a [Vec<Part>],
    /// What user functions may ask.
    #[cfg_attr(not(feature = "candle"), expect(dead_code, reason = "there are none"))]
    pub context: Context<'a>,
    /// Told how far it is.
    pub progress: &'a dyn Progress,
    /// Stops it.
    pub cancel: &'a Cancel,
}

/// What user functions may ask of a conversion.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "candle"), expect(dead_code, reason = "there are none"))]
pub(crate) struct Context<'a> {
    /// The model's config.
    pub model: &'a Config,
    /// The other side's config.
    pub format: &'a Config,
    /// The model's parameters under its config.
    pub instance: Option<&'a dyn Instance>,
    /// Whether the mapping is read backwards.
    pub export: bool,
    /// Where functions run.
    #[cfg(feature = "candle")]
    pub device: &'a candle_core::Device,
}

/// What was done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub(crate) struct Done {
    /// What casts lost, for each output that lost something, by its number.
    pub losses: Vec<(usize, Loss)>,
}

/// Compares the tensors that must be equal. Runs before anything is written.
///
/// # Errors
/// [`Refused`](crate::engine::Error::Refused) with every pair that differs;
/// [`Io`](crate::store::Error::Io); [`Cancelled`](crate::engine::Error::Cancelled).
pub(crate) fn check_equal(
    plan: &Plan,
    source: &dyn Source,
    prepared: &Prepared,
    cancel: &Cancel,
) -> Result<()> {
    let mut findings = Vec::new();
    for equal in &plan.equal {
        findings.extend(compare::compare(equal, source, prepared.buffer, cancel)?);
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
}

/// Runs the plan into the sink.
///
/// # Errors
/// [`Io`](crate::store::Error::Io), [`Function`](crate::engine::Error::Function) where a
/// user's function fails, [`Cancelled`](crate::engine::Error::Cancelled). The sink then holds
/// an incomplete result, which its owner drops.
pub(crate) fn run(job: &Job<'_>) -> Result<Done> {
    let prepared = job.prepared;
    if prepared.io != Io::Direct {
        return run_on(job);
    }
    let source = DirectSource::new(job.source, prepared.buffer);
    let sink = DirectSink::new(job.sink, file_count(job.places), prepared.buffer);
    run_on(&Job { source: &source, sink: &sink, ..*job })
}

fn run_on(job: &Job<'_>) -> Result<Done> {
    let tally = cast::Tally::new(job.plan.outputs.len());
    let extents = {
        stage!("cut");
        extents::extents(job.plan, job.source, job.places, &job.prepared.moved)
    };
    stage!("move");
    job.progress.begin(job.prepared.bytes);
    copy::run(job, extents, &tally, || {
        for &step in &job.prepared.whole {
            whole::run(job, step, &tally)?;
        }
        run_functions(job, &tally)
    })?;
    Ok(Done { losses: tally.losses() })
}

#[cfg(feature = "candle")]
fn run_functions(job: &Job<'_>, tally: &cast::Tally) -> Result<()> {
    job.prepared.functions.iter().try_for_each(|&step| function::run(job, step, tally))
}

#[cfg(not(feature = "candle"))]
fn run_functions(job: &Job<'_>, _: &cast::Tally) -> Result<()> {
    use crate::transform::Kernel;

    let Some(&step) = job.prepared.functions.first() else { return Ok(()) };
    let rule = &job.plan.mapping.rules[job.plan.steps[step].rule];
    let mut operations = rule.operations.iter();
    let function = operations.find(|operation| matches!(operation.kernel, Kernel::Function(_)));
    let name = function.map_or("", |function| function.name);
    Err(Error::NeedsCandle { name, at: rule.rule.at })
}

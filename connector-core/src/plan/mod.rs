//! What a conversion will do: schema × mapping × the headers of one checkpoint.
//!
//! A plan is complete or refused, and made without reading tensor data. With a schema it is
//! driven by the model: every parameter under the config, and on import the one live rule that
//! produces it with the sources that the rule names, on export the live rules that read it. Without
//! one it is driven by the source: the keys that match, joined by captured value.

mod branches;
mod build;
mod copies;
mod dropped;
mod explain;
mod finding;
mod leftovers;
mod origins;
mod parameters;
mod sources;
mod stages;
mod step;
mod summary;
mod targets;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
mod together;

use crate::base::options;
pub use crate::base::{Finding, FindingKind, KeyGroup, group_keys, natural_order};
pub use dropped::{Between, Dropped};
pub use explain::{Explanation, InputView, OutputView, Remark};
pub use summary::{DroppedRows, RuleUse, Summary};

use crate::Location;
use crate::base::{Dtype, TensorInfo};
use crate::key::{Captures, Pattern};
use crate::mapping::FlatMapping;
use crate::schema::Instance;
use crate::transform::{Compute, Config, Kind, Move};
use serde::{Serialize, Serializer};
use std::fmt;

/// What to plan.
pub struct Request<'a> {
    /// The rows, which also say which way it goes.
    pub mapping: &'a FlatMapping,
    /// The model's parameters under its config; `None` for a model without a schema.
    pub instance: Option<&'a dyn Instance>,
    /// The model's config.
    pub model: &'a Config,
    /// The other side's config.
    pub format: &'a Config,
    /// The tensors of the source.
    pub tensors: &'a [TensorInfo],
    /// What the user asked for.
    pub options: &'a PlanOptions,
}

options! {
/// What a user may ask of a conversion.
pub struct PlanOptions {
    /// The type that floating-point tensors are cast to; `None` keeps each tensor's own.
    pub dtype: Option<Dtype> = None,
    /// Source tensors to leave out.
    pub ignore: Vec<String> = Vec::new(),
    /// If not empty, only parameters that match one of these patterns are written.
    pub only: Vec<String> = Vec::new(),
    /// Fields of the format's config that the connector need not know: on the user's word they have no
    /// effect on what the model computes, and are carried.
    pub carry: Vec<String> = Vec::new(),
}
}

/// A conversion, ready to run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The rows, with their whole keys.
    pub mapping: FlatMapping,
    /// The steps. Each is independent of the others.
    pub steps: Vec<Step>,
    /// The tensors that will be written, in natural order of their names.
    pub outputs: Vec<Output>,
    /// Tensors that must hold the same bytes.
    pub equal: Vec<EqualCheck>,
    /// Outputs that `copy` rows ask for.
    pub copies: Vec<CopyOf>,
    /// Elements that go nowhere, of tensors that are read.
    pub dropped: Vec<Dropped>,
    /// Source tensors that are left behind on purpose.
    pub ignored: Vec<Ignored>,
    /// Parameters that exist but were not asked for.
    pub skipped: usize,
    /// Targets that are not written, because an `optional` row found none of its sources.
    pub absent: Vec<String>,
    /// Both configs: functions may ask for anything in them.
    configs: String,
}

/// One application of a rule.
#[derive(Clone, Debug)]
pub struct Step {
    /// The rule, by its number in [`FlatMapping::rules`].
    pub rule: usize,
    /// What its patterns captured.
    pub captures: Captures<'static>,
    /// The index of each axis of the schema, for the functions of [`Instance`].
    pub at: Vec<usize>,
    /// The tensors that are read, in the order of the operation's arguments; of a stacked axis,
    /// all arguments for its first index, then for the second, and so on.
    pub inputs: Vec<Input>,
    /// Other tensors that the function may ask for.
    pub reads: Vec<usize>,
    /// The tensors that are written, by their numbers in [`Plan::outputs`].
    pub outputs: Vec<usize>,
    /// What is done.
    pub work: Work,
}

/// A source tensor, or one index of its first dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// The tensor, by its number in the source.
    pub tensor: usize,
    /// The index along the first dimension (`unstack`); `None` for the whole tensor.
    pub index: Option<usize>,
}

/// How a step makes its outputs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Work {
    /// By moving elements; [`Move::source`] counts in [`Step::inputs`], [`Move::target`] in
    /// [`Step::outputs`].
    Moves(Vec<Move>),
    /// On bytes in memory, once or, for a stacked axis, once for each index.
    Compute {
        /// What is done, one after the other.
        stages: Vec<Stage>,
        /// How many times it is done; the inputs are shared out evenly.
        calls: usize,
    },
    /// On candle's tensors, by the operations of the rule, of which one or more are a user's functions;
    /// once or, for a stacked axis, once for each index.
    Function {
        /// How many times they are called; the inputs are shared out evenly.
        calls: usize,
    },
}

/// A built-in operation among others that are done in memory, one after the other.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What is done.
    pub act: Act,
    /// The types and shapes of what comes out.
    pub results: Vec<Kind>,
}

/// What a [`Stage`] does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Act {
    /// Moves elements.
    Moves(Vec<Move>),
    /// Computes one result of each group of what is given.
    Compute(&'static dyn Compute),
}

/// A tensor that will be written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Output {
    /// Its key.
    pub name: String,
    /// Its dimensions; `None` if only the function that makes it will tell.
    pub shape: Option<Vec<usize>>,
    /// Its type.
    pub dtype: Dtype,
    /// The type in which the operation gives it; another one is cast.
    pub made_as: Dtype,
    /// The step that makes it.
    pub step: usize,
}

/// Two source tensors that must hold the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EqualCheck {
    /// The tensor that adds nothing, by its number in the source.
    pub left: usize,
    /// The tensor that is converted.
    pub right: usize,
    /// The row that asks for it.
    pub at: Location,
}

/// An output that repeats another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOf {
    /// Its key.
    pub name: String,
    /// The key of the other.
    pub of: String,
    /// The row that asks for it.
    pub at: Location,
}

/// A source tensor that is left behind on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The tensor, by its number in the source.
    pub tensor: usize,
    /// Who asked for it.
    pub by: IgnoredBy,
}

/// Who asked for a tensor to be left behind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IgnoredBy {
    /// An `ignore` row of the mapping.
    Row(Location),
    /// A pattern of the user.
    Option(String),
}

/// As its text.
impl Serialize for IgnoredBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for IgnoredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IgnoredBy::Row(at) => write!(f, "an `ignore` row at {at}"),
            IgnoredBy::Option(pattern) => write!(f, "the pattern {pattern}"),
        }
    }
}

impl Output {
    /// The number of elements, if the shape is known.
    pub fn elements(&self) -> Option<u64> {
        Some(self.shape.as_ref()?.iter().map(|&n| n as u64).product())
    }

    /// The number of bytes, if the shape is known.
    pub fn bytes(&self) -> Option<u64> {
        self.dtype.size(self.elements()?)
    }
}

impl Plan {
    /// Makes the plan for `request`.
    ///
    /// # Errors
    /// Everything that is wrong, grouped.
    pub fn new(request: &Request<'_>) -> Result<Plan, Vec<Finding>> {
        build::build(request)
    }

    /// Whether some step calls a user's function.
    pub(crate) fn calls_functions(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.work, Work::Function { .. }))
    }

    /// A hash of everything the plan does with tensors of these names, types and shapes: the
    /// moves, the functions and what they may ask for, the outputs. The same plan has the same hash
    /// anywhere.
    pub fn hash(&self, tensors: &[TensorInfo]) -> String {
        let mut hash = blake3::Hasher::new();
        let mut put = |text: String| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for tensor in tensors {
            put(format!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape));
        }
        for output in &self.outputs {
            let Output { name, shape, dtype, made_as, step } = output;
            put(format!("{name} {dtype} {made_as} {shape:?} {step}"));
        }
        for step in &self.steps {
            let Step { inputs, reads, outputs, work, .. } = step;
            put(format!("{inputs:?} {reads:?} {outputs:?} {work:?}"));
            // What a function makes of its tensors may depend on all that its context offers.
            if let Work::Function { .. } = work {
                let operations = self.mapping.rules[step.rule].operations.iter();
                let kernels: Vec<_> = operations.map(|operation| operation.kernel).collect();
                put(format!("{} {:?} {kernels:?}", step.captures, step.at));
            }
        }
        if self.calls_functions() {
            put(self.configs.clone());
        }
        for EqualCheck { left, right, .. } in &self.equal {
            put(format!("{left} == {right}"));
        }
        hash.finalize().to_hex()[..32].to_string()
    }
}

/// The patterns of an option, parsed.
pub(crate) fn parse_patterns(texts: &[String]) -> Result<Vec<(Pattern<'_>, &str)>, Vec<Finding>> {
    let mut patterns = Vec::new();
    let mut findings = Vec::new();
    for text in texts {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push((pattern, text.as_str())),
            Err(error) => {
                let problem = format!("malformed key pattern: {error}");
                findings.push(Finding::new(FindingKind::Rule, text, problem));
            }
        }
    }
    if findings.is_empty() { Ok(patterns) } else { Err(findings) }
}

use super::build::{Builder, Target};
use super::finding::Problem;
use super::stages::{self, Laid};
use super::together;
use super::{EqualCheck, FindingKind, Input, Output, Step, Work};
use crate::base::{Dtype, Encoding};
use crate::key::{Capture, Captures, Pattern};
use crate::mapping::{FlatRule, Fold};
use crate::transform::{Kernel, Kind, Operation, Shape};
use std::collections::BTreeSet;

/// Why a step is not made.
pub(super) enum Stop {
    /// The rule is optional and its sources are absent.
    Absent,
    /// Something is wrong with the first target.
    Finding(FindingKind, Problem, Vec<String>),
}

/// One application of a rule, while it is made.
struct Application<'b, 'a> {
    builder: &'b Builder<'a>,
    number: usize,
    rule: &'a FlatRule,
    captures: &'b Captures<'static>,
    at: &'b [usize],
}

/// The tensors of each call of the operation.
type Calls<T> = Vec<Vec<T>>;

/// What an application of a rule comes to: what it asked for and what it gives.
pub(super) struct Applied {
    /// The keys that are not in the source.
    absent: BTreeSet<String>,
    /// What is there of its sources: even of an incomplete group it is spoken for, and no leftover.
    inputs: Vec<Input>,
    at: Vec<usize>,
    made: Result<Made, Stop>,
}

/// Applies a rule. Of an axis that no schema knows, [`index_folded_axis`] has been told.
pub(super) fn apply(
    builder: &Builder<'_>,
    number: usize,
    captures: &Captures<'static>,
    at: &[usize],
    targets: &[Target],
) -> Applied {
    let application = Application { builder, number, rule: builder.rule(number), captures, at };
    let (calls, absent) = match application.possible().and_then(|()| application.inputs()) {
        Ok(found) => found,
        Err(stop) => {
            let (absent, inputs) = Default::default();
            return Applied { absent, inputs, at: at.to_vec(), made: Err(stop) };
        }
    };
    let inputs = calls.concat();
    // Without members along its axis a rule has fewer sources than patterns.
    let made = if absent.is_empty() && inputs.len() >= application.rule.sources.len() {
        application.outputs(&calls, targets)
    } else {
        Err(application.incomplete(&absent, inputs.is_empty()))
    };
    Applied { absent, inputs, at: at.to_vec(), made }
}

/// Adds the step and its outputs.
pub(super) fn add(
    builder: &mut Builder<'_>,
    number: usize,
    captures: Captures<'static>,
    targets: Vec<Target>,
    applied: Applied,
) -> Option<usize> {
    let Applied { absent, inputs, at, made } = applied;
    if !builder.rule(number).together.is_empty() {
        let names = targets.iter().map(|target| target.name.as_str());
        together::note(builder, number, &captures, !inputs.is_empty(), &absent, names);
    }
    builder.missing.extend(absent);
    for input in &inputs {
        builder.used[input.tensor] = true;
    }
    let Made { shapes, dtype, work, equal, reads } = match made {
        Ok(made) => made,
        Err(Stop::Absent) => {
            builder.absent.extend(targets.into_iter().map(|target| target.name));
            return None;
        }
        Err(Stop::Finding(kind, problem, notes)) => {
            builder.finding(kind, problem, &targets[0].name, Some(number), notes);
            return None;
        }
    };
    for &tensor in &reads {
        builder.used[tensor] = true;
    }

    let step = builder.steps.len();
    builder.equal.extend(equal);
    let first = builder.outputs.len();
    for (Target { name, keep, .. }, shape) in targets.into_iter().zip(shapes) {
        let wanted = builder.request.options.dtype.filter(|_| dtype.is_castable() && !keep);
        let output = Output { name, shape, dtype: wanted.unwrap_or(dtype), made_as: dtype, step };
        builder.outputs.push(output);
    }
    let outputs = (first..builder.outputs.len()).collect();
    builder.steps.push(Step { rule: number, captures, at, inputs, reads, outputs, work });
    Some(step)
}

/// What a step gives.
struct Made {
    shapes: Vec<Option<Shape>>,
    dtype: Dtype,
    work: Work,
    equal: Vec<EqualCheck>,
    reads: Vec<usize>,
}

/// For an axis that no schema knows: the indices that it runs over, those of all sources of the
/// rule. An axis has one length, so that a member that only some layers have is missing in the
/// others.
pub(super) fn index_folded_axis(builder: &mut Builder<'_>, number: usize, at: &[usize]) {
    /// How many missing members are named. The last index may be any number that a key can hold.
    const HOLES: usize = 8;
    let rule = builder.rule(number);
    let (Fold::Stack(axis) | Fold::Gather(axis)) = rule.fold else { return };
    let declared = builder.request.instance.is_some_and(|i| i.schema().axes.contains(&axis));
    if declared || builder.folded.contains_key(&number) {
        return;
    }
    let field = builder.field(at);
    let mut found = BTreeSet::new();
    for source in rule.sources.iter().filter(|source| source.has(axis)) {
        let captures = builder.by_name.keys().filter_map(|name| source.captures_with(name, &field));
        found.extend(captures.filter_map(|captures| captures.index(axis)));
    }
    drop(field);
    let last = found.last().copied().unwrap_or_default();
    let holes: Vec<u64> = (0..last).filter(|index| !found.contains(index)).take(HOLES).collect();
    found.extend(holes);
    builder.folded.insert(number, found);
}

impl<'a> Application<'_, 'a> {
    fn name(&self) -> String {
        self.rule.name()
    }

    fn possible(&self) -> Result<(), Stop> {
        if self.rule.possible {
            return Ok(());
        }
        let note = format!(
            "{} has no inverse: give its `#[state_transform]` an `inverse = …`, or write a \
             `#[model_exporter]`",
            self.name()
        );
        Err(Stop::Finding(FindingKind::Rule, Problem::Unable, vec![note]))
    }

    /// The sources of each call that are there, and the keys of those that are not.
    fn inputs(&self) -> Result<(Calls<Input>, BTreeSet<String>), Stop> {
        let rule = self.rule;
        let unable = |note| Stop::Finding(FindingKind::Rule, Problem::Unable, vec![note]);
        let unstacked = match rule.fold {
            Fold::Unstack(axis) => {
                let index = self.captures.index(axis).and_then(|index| index.try_into().ok());
                let note =
                    || unable(format!("its target has no index {{{axis}}} to unstack along"));
                Some(index.ok_or_else(note)?)
            }
            _ => None,
        };
        let field = self.builder.field(self.at);
        let mut absent = BTreeSet::new();
        let mut find = |sources: &[Pattern<'static>], captures: &Captures<'static>| {
            let mut call = Vec::with_capacity(sources.len());
            for source in sources {
                let Some(key) = source.key(captures, &field) else {
                    let lack = "needs a capture or a number that is not there";
                    return Err(unable(format!("{source} {lack}")));
                };
                match self.builder.find(&key) {
                    Some(tensor) => call.push(Input { tensor, index: unstacked }),
                    None => drop(absent.insert(key)),
                }
            }
            Ok(call)
        };
        let along = |axis| {
            let captures = move |index| self.captures.with(Capture::index(axis, index));
            self.indices(axis).into_iter().map(captures)
        };
        let calls = match rule.fold {
            Fold::Stack(axis) => along(axis)
                .map(|captures| find(&rule.sources, &captures))
                .collect::<Result<_, _>>()?,
            Fold::Gather(axis) => {
                let (single, group) = rule.sources.split_at(rule.sources.len().saturating_sub(1));
                let mut call = find(single, self.captures)?;
                for captures in along(axis) {
                    call.extend(find(group, &captures)?);
                }
                vec![call]
            }
            _ => vec![find(&rule.sources, self.captures)?],
        };
        Ok((calls, absent))
    }

    /// The indices of the folded axis: from the schema, or those that the source has.
    fn indices(&self, axis: &'static str) -> Vec<u64> {
        if let Some(instance) = self.builder.request.instance
            && let Some(axis) = instance.schema().axes.iter().position(|name| *name == axis)
        {
            return (0..instance.axis(axis) as u64).collect();
        }
        self.builder.folded[&self.number].iter().copied().collect()
    }

    fn incomplete(&self, absent: &BTreeSet<String>, all_absent: bool) -> Stop {
        if self.rule.optional && all_absent {
            return Stop::Absent;
        }
        let needs = |key| format!("{} needs {key}, which is not in the checkpoint", self.name());
        let mut notes: Vec<String> = absent.iter().map(needs).collect();
        if notes.is_empty() {
            notes.push(format!("{} needs tensors along its axis; there are none", self.name()));
        }
        Stop::Finding(FindingKind::MissingSource, Problem::NeverProduced, notes)
    }

    /// What comes out, once all sources are there.
    fn outputs(&self, calls: &Calls<Input>, targets: &[Target]) -> Result<Made, Stop> {
        let reads = self.reads()?;
        let dtype = self.dtype(calls)?;
        let shapes = self.shapes(calls)?;
        let (shapes, dtype, work, equal) = if self.rule.calls_function() {
            let shapes: Vec<_> = targets.iter().map(|target| target.shape.clone()).collect();
            (shapes, dtype, Work::Function { calls: calls.len() }, Vec::new())
        } else {
            let Laid { kinds, work, equal } = self.lay_out(calls, shapes, targets)?;
            let dtype = kinds.first().map_or(dtype, |(dtype, _)| *dtype);
            (kinds.into_iter().map(|(_, shape)| Some(shape)).collect(), dtype, work, equal)
        };
        if shapes.len() != targets.len() {
            let (name, given, named) = (self.name(), shapes.len(), targets.len());
            let note = format!("{name} gives {given} tensors, the rule names {named} targets");
            return Err(Stop::Finding(FindingKind::Rule, Problem::Unable, vec![note]));
        }
        self.check_shapes(&shapes, targets, calls)?;
        let at = self.rule.rule.at;
        let tensor = |source: usize| calls[source / calls[0].len()][source % calls[0].len()].tensor;
        let equal = equal.into_iter().map(|(one, other)| EqualCheck {
            left: tensor(other),
            right: tensor(one),
            at,
        });
        let equal = equal.collect();
        Ok(Made { shapes, dtype, work, equal, reads })
    }

    fn reads(&self) -> Result<Vec<usize>, Stop> {
        let field = self.builder.field(self.at);
        let find = |pattern: &Pattern<'static>| {
            let key = pattern.key(self.captures, &field).unwrap_or_else(|| pattern.to_string());
            self.builder.by_name.get(key.as_str()).copied().ok_or_else(|| {
                let note = format!("{} reads {key}, which is not in the checkpoint", self.name());
                Stop::Finding(FindingKind::MissingSource, Problem::NeverProduced, vec![note])
            })
        };
        self.rule.reads.iter().map(find).collect()
    }

    /// The type that all sources have; where an operation takes several, that of the first.
    fn dtype(&self, calls: &Calls<Input>) -> Result<Dtype, Stop> {
        let mut tensors = calls.iter().flatten().map(|input| self.builder.tensor(input.tensor));
        let mut all = tensors.clone();
        if let Some(coded) = all.find(|tensor| tensor.encoding != Encoding::Raw) {
            // As numbers without their scales the elements mean nothing.
            let note =
                format!("{} is quantised: no operation takes its scales into account", coded.name);
            return Err(Stop::Finding(FindingKind::Dtype, Problem::WrongType, vec![note]));
        }
        let Some(first) = tensors.next() else {
            let note = format!("{} has no sources", self.name());
            return Err(Stop::Finding(FindingKind::Rule, Problem::Unable, vec![note]));
        };
        let moves = |operation: &Operation| matches!(operation.kernel, Kernel::Moves(_));
        let operations = &self.rule.operations;
        if operations.iter().all(moves)
            && self.builder.request.options.dtype.is_some()
            && first.dtype.is_scaled()
        {
            let note = format!("{} is {}, which cannot be cast", first.name, first.dtype);
            return Err(Stop::Finding(FindingKind::Dtype, Problem::WrongType, vec![note]));
        }
        let mover = operations.first().filter(|operation| moves(operation));
        match (mover, tensors.find(|tensor| tensor.dtype != first.dtype)) {
            (Some(mover), Some(other)) => {
                let mut notes =
                    [first, other].map(|t| format!("{} is {}", t.name, t.dtype)).to_vec();
                notes.push(format!("{} moves elements: its sources have one type", mover.name));
                Err(Stop::Finding(FindingKind::Dtype, Problem::WrongType, notes))
            }
            _ => Ok(first.dtype),
        }
    }

    fn shapes(&self, calls: &Calls<Input>) -> Result<Calls<Shape>, Stop> {
        let shape = |input: &Input| {
            let tensor = self.builder.tensor(input.tensor);
            let Some(index) = input.index else { return Ok(tensor.shape.clone()) };
            let wanted = self.unstacked_len(calls);
            match tensor.shape.split_first() {
                Some((&len, rest)) if index < len && wanted.is_none_or(|wanted| wanted == len) => {
                    Ok(rest.to_vec())
                }
                _ => {
                    let len = wanted.map_or(format!("more than {index}"), |n| n.to_string());
                    let (name, shape) = (&tensor.name, &tensor.shape);
                    let note = format!("{name} is {shape:?}: its first dimension should be {len}");
                    Err(Stop::Finding(FindingKind::Shape, Problem::WrongShape, vec![note]))
                }
            }
        };
        calls.iter().map(|call| call.iter().map(shape).collect()).collect()
    }

    /// How long the first dimension of an unstacked tensor must be: as the schema says, or else as
    /// that of the first source.
    fn unstacked_len(&self, calls: &Calls<Input>) -> Option<usize> {
        let Fold::Unstack(axis) = self.rule.fold else { return None };
        let declared = self.builder.request.instance.and_then(|instance| {
            let number = instance.schema().axes.iter().position(|name| *name == axis)?;
            Some(instance.axis(number))
        });
        let first = calls.iter().flatten().next()?;
        declared.or_else(|| self.builder.tensor(first.tensor).shape.first().copied())
    }

    /// What built-in operations do over all their calls.
    fn lay_out(
        &self,
        calls: &Calls<Input>,
        shapes: Calls<Shape>,
        targets: &[Target],
    ) -> Result<Laid, Stop> {
        let dtype = |input: &Input| self.builder.tensor(input.tensor).dtype;
        let mut kinds: Calls<Kind> = Vec::with_capacity(calls.len());
        for (call, shapes) in calls.iter().zip(shapes) {
            kinds.push(call.iter().map(dtype).zip(shapes).collect());
        }
        let stacked = self.rule.is_stacked();
        let wanted = targets.iter().map(|target| {
            let shape = target.shape.as_deref()?;
            Some(if stacked { shape.get(1..)?.to_vec() } else { shape.to_vec() })
        });
        let wanted: Option<Vec<Shape>> = wanted.collect();
        let numbers = self.builder.numbers(self.at);
        stages::lay_out(self.rule, &numbers, &kinds, wanted.as_deref())
            .map_err(|notes| Stop::Finding(FindingKind::Shape, Problem::WrongShape, notes))
    }

    fn check_shapes(
        &self,
        shapes: &[Option<Shape>],
        targets: &[Target],
        calls: &Calls<Input>,
    ) -> Result<(), Stop> {
        let wrong = targets.iter().zip(shapes).find_map(|(target, shape)| {
            let (want, got) = (target.shape.as_ref()?, shape.as_ref()?);
            (want != got).then_some((target, want, got))
        });
        let Some((target, want, got)) = wrong else { return Ok(()) };
        let mut notes = vec![format!("{} is {want:?} under this config", target.name)];
        notes.push(format!("the checkpoint gives {got:?}"));
        notes.extend(calls.iter().flatten().take(4).map(|input| {
            let tensor = self.builder.tensor(input.tensor);
            format!("from {} {:?}", tensor.name, tensor.shape)
        }));
        Err(Stop::Finding(FindingKind::Shape, Problem::WrongShape, notes))
    }
}

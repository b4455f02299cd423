//! The export of a model with a schema: every parameter under the config, and the rules that read
//! it.

use super::build::{Builder, retain};
use super::finding::Problem;
use super::parameters::{
    Candidate, Wanted, candidates, conditions, live_at_all, names, parameters, too_many,
};
use super::{EqualCheck, Finding, FindingKind, Step, leftovers, sources};
use crate::base::parallel;
use crate::key::Captures;
use crate::mapping::{FlatRule, Fold};
use crate::schema::Instance;
use std::collections::HashMap;

/// # Errors
/// If the conditions cannot be evaluated: all else would only follow from that.
pub(super) fn build(
    builder: &mut Builder<'_>,
    instance: &dyn Instance,
) -> Result<(), Vec<Finding>> {
    if too_many(builder, instance) {
        return Ok(());
    }
    conditions(builder, instance)?;
    let wanted = parameters(builder, instance);
    names(builder, &wanted);
    let live: Vec<Vec<Candidate>> = parallel::each(wanted.len(), |number| {
        candidates(builder, instance, &wanted[number], |rule| &rule.sources)
    });
    let live_at_all = live_at_all(builder, &live);
    builder.choose_branches(|rule| live_at_all[rule]);

    // A step may read several parameters, under whatever names the checkpoint has for them.
    let there: Vec<Option<usize>> = wanted.iter().map(|w| find(builder, w)).collect();
    for ((parameter, live), there) in wanted.iter().zip(live).zip(there) {
        if there.is_some_and(|tensor| misfits(builder, parameter, tensor)) {
            continue;
        }
        let mut live: Vec<Candidate> = live
            .into_iter()
            .filter(|candidate| builder.branches.take(builder.rule(candidate.rule)))
            .collect();
        live.dedup_by(|a, b| (a.rule, &a.captures) == (b.rule, &b.captures));
        let ignored = || parameter.names.iter().any(|name| leftovers::ignores(builder, name));
        if live.is_empty() && !ignored() {
            let note = "no rule of this connector reads it under this config";
            let (kind, problem) = (FindingKind::NoRule, Problem::NoRule);
            builder.finding(kind, problem, parameter.name(), None, vec![note.into()]);
        }
        for Candidate { rule, captures, .. } in live {
            let captures = shared_captures(builder, rule, captures, &parameter.at);
            sources::apply(builder, rule, captures, &parameter.at, parameter.keep());
        }
    }
    join_copies(builder);
    Ok(())
}

/// Parameters that an import takes from one tensor, a tied embedding say, become one again: the
/// first is written, the others must hold the same bytes. Steps that write one tensor in different
/// ways are a finding.
fn join_copies(builder: &mut Builder<'_>) {
    let mut written: HashMap<String, usize> = HashMap::new();
    let mut keep = vec![true; builder.steps.len()];
    for (number, keep) in keep.iter_mut().enumerate() {
        let names = output_names(builder, number);
        let Some(&first) = names.iter().find_map(|name| written.get(name)) else {
            written.extend(names.into_iter().map(|name| (name, number)));
            continue;
        };
        *keep = false;
        let (one, other) = (&builder.steps[first], &builder.steps[number]);
        let (first_rule, rule) = (one.rule, other.rule);
        if names != output_names(builder, first) || !are_alike(builder, one, other) {
            sources::ambiguous(builder, Problem::Doubled, &names[0], first_rule, rule);
            continue;
        }
        let at = builder.rule(rule).rule.at;
        let pairs = other.inputs.iter().zip(&one.inputs);
        let equal =
            pairs.map(|(left, right)| EqualCheck { left: left.tensor, right: right.tensor, at });
        let equal: Vec<EqualCheck> = equal.collect();
        builder.equal.extend(equal);
    }
    retain(&mut builder.steps, &mut builder.outputs, &keep);
}

fn output_names(builder: &Builder<'_>, step: usize) -> Vec<String> {
    let outputs = builder.steps[step].outputs.iter();
    outputs.map(|output| builder.outputs[*output].name.clone()).collect()
}

/// Whether two steps do the same with tensors of the same types and shapes.
fn are_alike(builder: &Builder<'_>, one: &Step, other: &Step) -> bool {
    let kinds = |step: &Step| -> Vec<_> {
        let inputs = step.inputs.iter().map(|input| (builder.tensor(input.tensor), input.index));
        inputs.map(|(tensor, index)| (tensor.dtype, tensor.shape.clone(), index)).collect()
    };
    let operation = |step: &Step| builder.rule(step.rule).name();
    operation(one) == operation(other) && kinds(one) == kinds(other)
}

/// The tensor that holds a parameter, which rules then find under each of its names.
fn find(builder: &mut Builder<'_>, parameter: &Wanted) -> Option<usize> {
    let is_there = |name: &&String| builder.by_name.contains_key(name.as_str());
    let mut there = parameter.names.iter().filter(is_there);
    let (first, second) = (there.next()?, there.next());
    let tensor = builder.by_name[first.as_str()];
    if let Some(second) = second {
        let number = builder.by_name[second.as_str()];
        builder.used[number] = true;
        let note = format!("it is another name of {first}, which is there too");
        let (kind, problem) = (FindingKind::Ambiguous, Problem::Repeated);
        builder.finding(kind, problem, second, None, vec![note]);
    }
    if parameter.names.len() > 1 {
        builder.spellings.extend(parameter.names.iter().map(|name| (name.clone(), tensor)));
    }
    Some(tensor)
}

/// Whether a tensor has not the shape of its parameter, which is then a finding.
fn misfits(builder: &mut Builder<'_>, parameter: &Wanted, tensor: usize) -> bool {
    let info = builder.tensor(tensor);
    let (name, want) = (parameter.name(), &parameter.shape);
    if *want == info.shape {
        return false;
    }
    let notes = vec![
        format!("{name} is {want:?} under this config"),
        format!("the checkpoint has {:?}", info.shape),
    ];
    builder.used[tensor] = true;
    builder.finding(FindingKind::Shape, Problem::WrongShape, &info.name, None, notes);
    true
}

/// The captures of a step, whichever of its parameters asks for it: without the axis that its
/// sources run over, and in the order of its first source.
fn shared_captures(
    builder: &Builder<'_>,
    rule: usize,
    captures: Captures<'static>,
    at: &[usize],
) -> Captures<'static> {
    let FlatRule { sources, fold, .. } = builder.rule(rule);
    let field = builder.field(at);
    let first = sources.first().and_then(|source| {
        let key = source.key(&captures, &field)?;
        source.captures_with(&key, &field)
    });
    let captures = first.unwrap_or(captures);
    match *fold {
        Fold::Stack(axis) | Fold::Gather(axis) => captures.without(axis),
        _ => captures,
    }
}

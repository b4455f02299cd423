//! The plan of a model without a schema, driven by the source: keys joined by captured value.

use super::build::{Builder, Target};
use super::finding::Problem;
use super::{FindingKind, together};
use crate::key::{Capture, Captures, Condition, Pattern};
use crate::mapping::{FlatRule, Fold};
use std::collections::{BTreeMap, HashMap};

pub(super) fn build(builder: &mut Builder<'_>) {
    builder.choose_branches(|_| true);
    let mut joins: Vec<Vec<Captures<'static>>> =
        builder.request.mapping.rules.iter().map(|rule| join(builder, rule)).collect();
    together::wanted(builder, &mut joins);
    for (number, joined) in joins.into_iter().enumerate() {
        let rule = builder.rule(number);
        if !builder.branches.take(rule) {
            continue;
        }
        if rule.when.iter().any(|when| *when != Condition::ALWAYS) {
            let note = "`when` needs flags, which only a schema declares";
            refuse(builder, number, FindingKind::Rule, note.into());
            continue;
        }
        if let Fold::Repeat(axis) = rule.fold {
            let note = format!("`repeat {axis}` needs an axis that a schema declares");
            refuse(builder, number, FindingKind::Rule, note);
            continue;
        }
        if joined.is_empty() && !rule.optional {
            let sources: Vec<String> = rule.sources.iter().map(|s| s.to_string()).collect();
            let note = format!("nothing in the checkpoint matches {}", sources.join(", "));
            builder.missing.extend(sources);
            refuse(builder, number, FindingKind::MissingSource, note);
        }
        for captures in joined {
            apply(builder, number, captures, &[], false);
        }
    }
    written_twice(builder);
    read_twice(builder);
}

fn refuse(builder: &mut Builder<'_>, rule: usize, kind: FindingKind, note: String) {
    let target = builder.rule(rule).targets.first().map_or(String::new(), |t| t.to_string());
    builder.finding(kind, Problem::NeverProduced, &target, Some(rule), vec![note]);
}

/// The captures for which at least one source of the rule is there, without the folded axis.
fn join(builder: &Builder<'_>, rule: &FlatRule) -> Vec<Captures<'static>> {
    let axis = match rule.fold {
        Fold::Stack(axis) | Fold::Gather(axis) => Some(axis),
        _ => None,
    };
    let field = builder.field(&[]);
    // Patterns may capture the same names in another order, {layer}.{e} and {e}.{layer}: what is
    // joined are the values in the order of their names.
    let mut joined: BTreeMap<Vec<Capture<'static>>, Captures<'static>> = BTreeMap::new();
    for (position, source) in rule.sources.iter().enumerate() {
        // A group says which axis it runs over, not for which layers the others must be there.
        let is_group = position > 0 && matches!(rule.fold, Fold::Gather(_));
        if is_group && axis.is_some_and(|axis| source.has(axis)) {
            continue;
        }
        for name in builder.by_name.keys() {
            let Some(captures) = source.captures_with(name, &field) else { continue };
            let captures = axis.map_or(captures.clone(), |axis| captures.without(axis));
            let mut values: Vec<Capture<'static>> = captures.iter().cloned().collect();
            if values.iter().all(|capture| !capture.name().is_empty()) {
                values.sort();
            }
            joined.entry(values).or_insert(captures);
        }
    }
    joined.into_values().collect()
}

/// The most tensors that one may become. An empty tensor's dimensions may be any numbers; the most
/// experts of a layer are some hundreds.
const MOST_MEMBERS: usize = 1 << 20;

/// Adds the steps of a rule at `captures`. The targets' shapes are not known; `keep` says whether
/// a cast spares them.
pub(super) fn apply(
    builder: &mut Builder<'_>,
    number: usize,
    captures: Captures<'static>,
    at: &[usize],
    keep: bool,
) {
    let rule = builder.rule(number);
    if let (Fold::Spread(axis), 2..) = (rule.fold, rule.targets.len()) {
        let note = format!("it returns the tensors along {{{axis}}}, for one target");
        return refuse(builder, number, FindingKind::Rule, note);
    }
    let members: Vec<Captures<'static>> = match rule.fold {
        Fold::Unstack(axis) | Fold::Spread(axis) => {
            let count = members(builder, rule, &captures, at);
            if count > MOST_MEMBERS {
                let note = format!("its source would become {count} tensors along {{{axis}}}");
                return refuse(builder, number, FindingKind::Shape, note);
            }
            let member = |index| captures.with(Capture::index(axis, index as u64));
            (0..count).map(member).collect()
        }
        _ => vec![captures.clone()],
    };
    let target = |pattern: &Pattern<'static>, captures: &Captures<'static>| {
        let name = pattern.key(captures, builder.field(at))?;
        Some(Target { name, shape: None, keep })
    };
    let targets: Option<Vec<Vec<Target>>> = members
        .iter()
        .map(|captures| rule.targets.iter().map(|pattern| target(pattern, captures)).collect())
        .collect();
    let Some(targets) = targets else {
        let note = "a target needs a capture or a number that is not there";
        return refuse(builder, number, FindingKind::Rule, note.into());
    };
    if matches!(rule.fold, Fold::Spread(_)) {
        let targets: Vec<Target> = targets.into_iter().flatten().collect();
        if !targets.is_empty() {
            builder.step(number, captures, at, targets);
        }
        return;
    }
    for (captures, targets) in members.into_iter().zip(targets) {
        builder.step(number, captures, at, targets);
    }
}

/// How many tensors one becomes: as many as its first dimension is long. One if the tensor is not
/// there, so that the step can name it.
fn members(
    builder: &Builder<'_>,
    rule: &FlatRule,
    captures: &Captures<'static>,
    at: &[usize],
) -> usize {
    let key = rule.sources[0].key(captures, builder.field(at));
    let tensor = key.and_then(|key| builder.find(&key));
    tensor.map_or(1, |tensor| builder.tensor(tensor).shape.first().copied().unwrap_or(1))
}

/// Two rules that write one tensor.
fn written_twice(builder: &mut Builder<'_>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let outputs: Vec<(String, usize)> = builder
        .outputs
        .iter()
        .map(|output| (output.name.clone(), builder.steps[output.step].rule))
        .collect();
    for (name, rule) in outputs {
        if let Some(first) = seen.insert(name.clone(), rule) {
            ambiguous(builder, Problem::Doubled, &name, first, rule);
        }
    }
}

/// Two rules that read one tensor: because their patterns overlap, `mlp.*.down_proj` for the experts and
/// the shared experts, or because under this config both of two parameters exist that should exclude each
/// other. Without a schema two rules that have the same pattern mean it.
pub(super) fn read_twice(builder: &mut Builder<'_>) {
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let mut overlaps = Vec::new();
    for step in &builder.steps {
        for input in &step.inputs {
            let first = *seen.entry(input.tensor).or_insert(step.rule);
            if first != step.rule {
                overlaps.push((input.tensor, first, step.rule));
            }
        }
    }
    for (tensor, first, second) in overlaps {
        let name = &builder.tensor(tensor).name;
        let reads = |rule| builder.rule(rule).sources.iter().filter(|source| source.matches(name));
        let same = || reads(first).any(|source| reads(second).any(|other| other == source));
        if builder.request.instance.is_some() || !same() {
            ambiguous(builder, Problem::ReadTwice, name, first, second);
        }
    }
}

/// The finding that two rules do what one should.
pub(super) fn ambiguous(
    builder: &mut Builder<'_>,
    problem: Problem,
    key: &str,
    first: usize,
    second: usize,
) {
    let at = builder.rule(second).rule.at;
    let note = format!("by the rule here and by the rule at {at}");
    builder.finding(FindingKind::Ambiguous, problem, key, Some(first), vec![note]);
}

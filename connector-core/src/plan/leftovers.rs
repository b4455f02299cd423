//! What is left over of the source once every step is planned.

use super::build::Builder;
use super::finding::Problem;
use super::{EqualCheck, FindingKind, Ignored, IgnoredBy, Input};
use crate::base::{group_keys, indices_as};
use crate::key::{Captures, Condition, Pattern, distance, similar};
use crate::mapping::Direction;
use crate::schema::holds;
use std::collections::{BTreeMap, BTreeSet};

/// Settles every tensor that no step reads: by an `a == b` row, by an `ignore` row, or as a
/// finding. Returns those that are left behind on purpose.
pub(super) fn settle(builder: &mut Builder<'_>) -> Vec<Ignored> {
    read_in_part(builder);
    equal_rows(builder);
    let mut left_behind = Vec::new();
    let mut unused = Vec::new();
    for tensor in 0..builder.used.len() {
        if builder.used[tensor] {
            continue;
        }
        let name = &builder.tensor(tensor).name;
        let mut rows = builder.request.mapping.ignore.iter();
        match rows.find(|row| applies(builder, &row.pattern, &row.when, name).is_some()) {
            Some(row) => left_behind.push(Ignored { tensor, by: IgnoredBy::Row(row.at) }),
            None if builder.failed.iter().any(|&rule| takes(builder, rule, name).is_some()) => {}
            None => unused.push(name.clone()),
        }
    }
    let known = if unused.is_empty() { Vec::new() } else { known_keys(builder) };
    for group in group_keys(unused) {
        let (note, rule) = why_unused(builder, &known, &group.keys[0]);
        for key in &group.keys {
            let note = vec![note.clone()];
            builder.finding(FindingKind::UnusedTensor, Problem::Unused, key, rule, note);
        }
    }
    left_behind
}

/// Whether an `ignore` row applies to a source tensor of this name.
pub(super) fn ignores(builder: &Builder<'_>, name: &str) -> bool {
    let mut rows = builder.request.mapping.ignore.iter();
    rows.any(|row| applies(builder, &row.pattern, &row.when, name).is_some())
}

/// The source pattern of a rule that `key` matches.
fn takes<'a>(builder: &Builder<'a>, rule: usize, key: &str) -> Option<&'a Pattern<'static>> {
    let axes = builder.request.instance.map_or(0, |instance| instance.schema().axes.len());
    let at = vec![0; axes];
    let known = builder.field(&at);
    // Of what the config does not have, another finding speaks.
    let field = |name: &str| known(name).or(Some(0));
    builder.rule(rule).sources.iter().find(|source| source.captures_with(key, &field).is_some())
}

/// Why no step reads `key`, and the rule that it may be meant for.
fn why_unused(builder: &Builder<'_>, known: &[Known], key: &str) -> (String, Option<usize>) {
    let rules = 0..builder.request.mapping.rules.len();
    let mut taking = rules.filter_map(|rule| Some((rule, takes(builder, rule, key)?)));
    if let Some((rule, pattern)) = taking.next() {
        let note = match builder.branches.instead_of(builder.rule(rule)) {
            Some(taken) => format!("{pattern} takes it, but the other keys are those of `{taken}`"),
            None => format!("{pattern} takes it, but this config has no parameter for it"),
        };
        return (note, Some(rule));
    }
    match nearest(known, key) {
        Some(near) => (format!("did you mean {}?", near.text), near.rule),
        None => ("no key that this importer knows is near".into(), None),
    }
}

/// A tensor of which some indices go nowhere: its first dimension is longer than its targets are
/// many.
fn read_in_part(builder: &mut Builder<'_>) {
    // Where a step failed, it is clear why its index is not read.
    if !builder.findings.is_empty() {
        return;
    }
    let mut read: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let inputs = builder.steps.iter().flat_map(|step| &step.inputs);
    let (sliced, whole): (Vec<&Input>, Vec<&Input>) =
        inputs.partition(|input| input.index.is_some());
    for input in sliced {
        read.entry(input.tensor).or_default().extend(input.index);
    }
    whole.iter().for_each(|input| drop(read.remove(&input.tensor)));
    for (tensor, indices) in read {
        let info = builder.tensor(tensor);
        let len = info.shape.first().copied().unwrap_or_default();
        if let Some(unread) = (0..len).find(|index| !indices.contains(index)) {
            let shape = &info.shape;
            let note = format!(
                "it is {shape:?}, and nothing is made of index {unread} of its first dimension"
            );
            let (kind, problem) = (FindingKind::UnusedTensor, Problem::PartlyUsed);
            builder.finding(kind, problem, &info.name, None, vec![note]);
        }
    }
}

/// What `pattern`, of a row that is no rule, captures from `name`, if the row applies there under
/// the config: its conditions hold at the captured indices, and its axes reach that far.
fn applies(
    builder: &Builder<'_>,
    pattern: &Pattern<'static>,
    when: &[Condition],
    name: &str,
) -> Option<Captures<'static>> {
    let Some(instance) = builder.request.instance else {
        let captures = pattern.captures_with(name, &builder.field(&[]))?;
        return when.is_empty().then_some(captures);
    };
    let schema = instance.schema();
    let mut at = vec![0; schema.axes.len()];
    let captures = pattern.captures_with(name, &builder.field(&at))?;
    for (axis, at) in at.iter_mut().enumerate() {
        let Some(index) = captures.index(schema.axes[axis]) else { continue };
        *at = usize::try_from(index).ok().filter(|index| *index < instance.axis(axis))?;
    }
    when.iter().all(|when| holds(instance, when, &at)).then_some(captures)
}

/// `a == b`: a tensor that adds nothing is used up by the comparison. Of an export the rows say what is
/// written.
fn equal_rows(builder: &mut Builder<'_>) {
    if builder.request.mapping.direction == Direction::Export {
        return;
    }
    let axes = builder.request.instance.map_or(0, |instance| instance.schema().axes.len());
    let at = vec![0; axes];
    for row in &builder.request.mapping.equal {
        for left in 0..builder.used.len() {
            let info = builder.tensor(left);
            if builder.used[left] {
                continue;
            }
            let Some(captures) = applies(builder, &row.left, &row.when, &info.name) else {
                continue;
            };
            let right = row.right.key(&captures, builder.field(&at));
            let right = right.and_then(|key| builder.by_name.get(key.as_str()).copied());
            let problem = match right.map(|right| (right, builder.tensor(right))) {
                None => {
                    Some(format!("it must equal {}, which is not in the checkpoint", row.right))
                }
                // Two tensors that are only compared with each other would both be lost.
                Some((right, info)) if !builder.used[right] => {
                    Some(format!("it must equal {}, which is not converted", info.name))
                }
                Some((_, right)) if (right.dtype, &right.shape) != (info.dtype, &info.shape) => {
                    let (name, dtype, shape) = (&right.name, right.dtype, &right.shape);
                    Some(format!(
                        "it is {} {:?} and must equal {name}, which is {dtype} {shape:?}",
                        info.dtype, info.shape
                    ))
                }
                Some((right, _)) => {
                    builder.equal.push(EqualCheck { left, right, at: row.at });
                    None
                }
            };
            builder.used[left] = true;
            if let Some(note) = problem {
                let kind = FindingKind::Shape;
                builder.finding(kind, Problem::WrongShape, &info.name, None, vec![note]);
            }
        }
    }
}

/// A key, or a group of keys, that this importer knows.
struct Known {
    text: String,
    /// The text without indices and captures, so that only the names are compared.
    shape: String,
    rule: Option<usize>,
    /// Whether a rule asked for it in vain.
    missing: bool,
}

/// One for each group of keys, not for each key: an importer for another model misses tens of
/// thousands.
fn known_keys(builder: &Builder<'_>) -> Vec<Known> {
    let rules = &builder.request.mapping.rules;
    let missing = group_keys(builder.missing.iter().cloned()).into_iter().map(|group| {
        let key = &group.keys[0];
        let rule = rules.iter().position(|rule| rule.sources.iter().any(|s| s.matches(key)));
        Known { shape: shape(key), text: group.text, rule, missing: true }
    });
    let patterns = rules.iter().enumerate().flat_map(|(number, rule)| {
        rule.sources.iter().map(move |source| {
            let text = source.to_string();
            Known { shape: shape(&text), text, rule: Some(number), missing: false }
        })
    });
    missing.chain(patterns).collect()
}

/// The known key that `key` may be a slip for. One that is missing comes first.
fn nearest<'k>(known: &'k [Known], key: &str) -> Option<&'k Known> {
    let key = shape(key);
    let near = known.iter().filter(|known| similar(&key, &known.shape));
    near.min_by_key(|known| (!known.missing, distance(&key, &known.shape), &known.text))
}

/// A key or a pattern with `*` for indices and captures.
fn shape(text: &str) -> String {
    let text = indices_as(text, "*");
    let segments =
        text.split('.').map(|segment| if segment.starts_with('{') { "*" } else { segment });
    segments.collect::<Vec<_>>().join(".")
}

//! Optional blocks: all of their sources are there, or none.

use super::FindingKind;
use super::build::Builder;
use super::finding::Problem;
use crate::key::{Capture, Captures, Pattern};
use crate::mapping::{FlatRule, Fold};
use foldhash::HashMap;
use std::collections::{BTreeSet, HashSet};

/// What is there of each optional block, by its number and what its head captured.
pub(super) type Blocks = HashMap<(usize, Vec<Capture<'static>>), Found>;

/// What is there of a block, at what its head captured.
#[derive(Default)]
pub(super) struct Found {
    /// Whether any of its sources is.
    any: bool,
    lacking: Vec<Lacking>,
}

/// A rule that found none of its sources.
struct Lacking {
    rule: usize,
    targets: Vec<String>,
    keys: BTreeSet<String>,
}

/// What the head of a block captured, of what one of its rules did.
fn key(head: &Pattern<'static>, captures: &Captures<'static>) -> Vec<Capture<'static>> {
    let mut unnamed = captures.iter().filter(|capture| capture.name().is_empty());
    let of = head.names().filter_map(|name| match name {
        "" => unnamed.next().cloned(),
        name => captures.get(name).cloned(),
    });
    of.collect()
}

/// Notes what a rule found at `captures`, for each block that it stands in.
pub(super) fn note<'t>(
    builder: &mut Builder<'_>,
    number: usize,
    captures: &Captures<'static>,
    any: bool,
    absent: &BTreeSet<String>,
    targets: impl Iterator<Item = &'t str>,
) {
    let FlatRule { together, rule, .. } = builder.rule(number);
    for block in together {
        let found = builder.together.entry((block.block, key(&block.head, captures))).or_default();
        found.any |= any;
    }
    if let (Some(block), false, false) = (together.last(), any, rule.optional) {
        let found = builder.together.entry((block.block, key(&block.head, captures))).or_default();
        let targets = targets.map(str::to_owned).collect();
        found.lacking.push(Lacking { rule: number, targets, keys: absent.clone() });
    }
}

/// Refuses blocks of which a part is there.
pub(super) fn all_or_none(builder: &mut Builder<'_>) {
    let blocks = std::mem::take(&mut builder.together);
    let mut lost = HashSet::new();
    for Lacking { rule, targets, keys } in
        blocks.into_values().filter(|found| found.any).flat_map(|found| found.lacking)
    {
        let Some(block) = builder.rule(rule).together.last() else { continue };
        let name = builder.rule(rule).name();
        let needs = |key: &String| format!("{name} needs {key}, which is not in the checkpoint");
        let mut notes: Vec<String> = keys.iter().map(needs).collect();
        notes.push(format!(
            "the optional block at {} is there in part: all of it, or none",
            block.at
        ));
        let kind = FindingKind::MissingSource;
        builder.finding(kind, Problem::NeverProduced, &targets[0], Some(rule), notes);
        lost.extend(targets);
    }
    builder.absent.retain(|name| !lost.contains(name));
}

/// Without a schema: where one rule of a block has sources, the others with the same captures are
/// wanted too.
pub(super) fn wanted(builder: &Builder<'_>, joins: &mut [Vec<Captures<'static>>]) {
    let rules = &builder.request.mapping.rules;
    let mut found: HashMap<(usize, Vec<&str>), Vec<Captures<'static>>> = HashMap::default();
    let of = |number: usize, captures: &Captures<'static>| {
        let names = captures.iter().map(Capture::name).collect();
        rules[number].together.last().map(|block| (block.block, names))
    };
    for (number, captures) in
        joins.iter().enumerate().flat_map(|(n, all)| all.iter().map(move |c| (n, c)))
    {
        let Some(key) = of(number, captures) else { continue };
        let all = found.entry(key).or_default();
        if !all.contains(captures) {
            all.push(captures.clone());
        }
    }
    for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.rule.optional) {
        let Some(block) = rule.together.last() else { continue };
        let names: Option<Vec<&str>> = rule
            .sources
            .first()
            .map(|source| source.names().filter(|name| !folded(rule, name)).collect());
        let Some(all) = names.and_then(|names| found.get(&(block.block, names))) else { continue };
        let more: Vec<_> = all.iter().filter(|c| !joins[number].contains(c)).cloned().collect();
        joins[number].extend(more);
    }
}

/// Whether a rule runs over the axis `name` of its sources.
fn folded(rule: &FlatRule, name: &str) -> bool {
    matches!(rule.fold, Fold::Stack(axis) | Fold::Gather(axis) if axis == name)
}

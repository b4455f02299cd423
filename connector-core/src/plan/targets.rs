//! The plan of a model with a schema, driven by the target.

use super::build::{Builder, Target};
use super::finding::Problem;
use super::parameters::{Candidate, Wanted, candidates, conditions, names, parameters, too_many};
use super::{Finding, FindingKind};
use crate::key::{Capture, Captures};
use crate::mapping::Fold;
use crate::schema::Instance;
use std::collections::{HashMap, HashSet};

/// # Errors
/// If the conditions cannot be evaluated: all else would only follow from that.
pub(super) fn build(
    builder: &mut Builder<'_>,
    instance: &dyn Instance,
) -> Result<(), Vec<Finding>> {
    if too_many(builder, instance) {
        return Ok(());
    }
    let truths = conditions(builder, instance)?;
    let wanted = parameters(builder, instance);
    let by_name = names(builder, &wanted);
    let live: Vec<Vec<Candidate>> = wanted
        .iter()
        .map(|parameter| candidates(builder, &truths, parameter, |rule| &rule.targets))
        .collect();
    let used: HashSet<usize> = live.iter().flatten().map(|candidate| candidate.rule).collect();
    builder.choose_branches(|rule| used.contains(&rule));

    for (parameter, mut live) in wanted.iter().zip(live) {
        let untaken = live.first().map(|candidate| candidate.rule);
        live.retain(|candidate| builder.branches.take(builder.rule(candidate.rule)));
        let name = &parameter.target.name;
        match live.as_slice() {
            [] => {
                let rule = untaken.map(|rule| builder.rule(rule));
                let note = match rule.and_then(|rule| builder.branches.instead_of(rule)) {
                    Some(taken) => format!(
                        "the checkpoint's keys are those of `{taken}`, where no rule makes it"
                    ),
                    None => "no rule of this importer makes it under this config".into(),
                };
                builder.finding(FindingKind::NoRule, Problem::NoRule, name, untaken, vec![note]);
            }
            [one] => produce(builder, instance, parameter, one, &wanted, &by_name),
            [first, second, ..] => {
                let at = builder.rule(second.rule).rule.at;
                let note = format!("by the rule here and by the rule at {at}");
                let (kind, problem) = (FindingKind::Ambiguous, Problem::Doubled);
                builder.finding(kind, problem, name, Some(first.rule), vec![note]);
                builder.failed.extend(live.iter().map(|candidate| candidate.rule));
            }
        }
    }
    Ok(())
}

/// Adds the step that makes `parameter`, and with it the rule's other targets.
fn produce(
    builder: &mut Builder<'_>,
    instance: &dyn Instance,
    parameter: &Wanted,
    candidate: &Candidate,
    wanted: &[Wanted],
    by_name: &HashMap<&str, usize>,
) {
    let rule = builder.rule(candidate.rule);
    let flags = instance.schema().flags;
    if rule.targets.len() == 1 && !matches!(rule.fold, Fold::Spread(_)) {
        let name = parameter.spelling(flags, candidate.name).into();
        let target = Target { name, ..parameter.target.clone() };
        builder.step(candidate.rule, candidate.captures.clone(), &parameter.at, &[target]);
        return;
    }
    let (captures, names) = match targets(builder, instance, parameter, candidate) {
        Ok(targets) => targets,
        Err(note) => {
            let (kind, problem) = (FindingKind::Rule, Problem::Unable);
            let name = &parameter.target.name;
            return builder.finding(kind, problem, name, Some(candidate.rule), vec![note]);
        }
    };
    let mut targets = Vec::new();
    for name in names {
        match by_name.get(name.as_str()) {
            Some(&number) => {
                let parameter = &wanted[number];
                let spelling = parameter.names.iter().position(|other| *other == name);
                let name = parameter.spelling(flags, spelling.unwrap_or_default()).into();
                targets.push(Target { name, ..parameter.target.clone() });
            }
            None => {
                let model = instance.schema().model;
                let note = format!("{model} has no such parameter under this config");
                let (kind, problem) = (FindingKind::Rule, Problem::NotParameter);
                return builder.finding(kind, problem, &name, Some(candidate.rule), vec![note]);
            }
        }
    }
    builder.step(candidate.rule, captures, &parameter.at, &targets);
}

/// What the step that makes `parameter` and others captures, and the names of all that it makes.
fn targets(
    builder: &Builder<'_>,
    instance: &dyn Instance,
    parameter: &Wanted,
    candidate: &Candidate,
) -> Result<(Captures<'static>, Vec<String>), String> {
    let rule = builder.rule(candidate.rule);
    let field = builder.field(&parameter.at);
    let captures = &candidate.captures;
    let (captures, names): (_, Option<Vec<String>>) = match (rule.fold, &rule.targets[..]) {
        (Fold::Spread(axis), [target]) => {
            let schema = instance.schema();
            let number = schema.axes.iter().position(|name| *name == axis);
            let number = number.ok_or_else(|| {
                format!(
                    "it returns the tensors along {{{axis}}}, which is no axis of {}",
                    schema.model
                )
            })?;
            let member = |index| target.key(&captures.with(Capture::index(axis, index)), &field);
            let members = 0..instance.axis(number) as u64;
            (captures.without(axis), members.map(member).collect())
        }
        (Fold::Spread(axis), _) => {
            return Err(format!("it returns the tensors along {{{axis}}}, for one target"));
        }
        (_, targets) => {
            (captures.clone(), targets.iter().map(|target| target.key(captures, &field)).collect())
        }
    };
    let names = names.ok_or("a target needs a capture or a number that is not there")?;
    Ok((captures, names))
}

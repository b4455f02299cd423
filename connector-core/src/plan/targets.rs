//! The plan of a model with a schema, driven by the target.

use super::build::{Builder, Target};
use super::finding::Problem;
use super::parameters::{
    Candidate, Wanted, candidates, conditions, live_at_all, names, parameters, too_many,
};
use super::step::{self, Applied};
use super::{Finding, FindingKind};
use crate::base::parallel;
use crate::key::{Capture, Captures};
use crate::mapping::Fold;
use crate::schema::Instance;
use foldhash::HashMap;

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
    let by_name = names(builder, &wanted);
    let live: Vec<Vec<Candidate>> = parallel::each(wanted.len(), |number| {
        candidates(builder, instance, &wanted[number], |rule| &rule.targets)
    });
    let live_at_all = live_at_all(builder, &live);
    builder.choose_branches(|rule| live_at_all[rule]);
    // One for each parameter at most. Vectors that grow take twice as much.
    builder.steps.reserve(wanted.len());
    builder.outputs.reserve(wanted.len());
    let mut rest = wanted.iter().zip(live);
    loop {
        let batch: Vec<(&Wanted, Vec<Candidate>)> = rest.by_ref().take(AT_ONCE).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let alone = parallel::each(batch.len(), |number| {
            let (parameter, live) = &batch[number];
            alone(builder, instance, parameter, live)
        });
        for ((parameter, mut live), alone) in batch.into_iter().zip(alone) {
            let untaken = live.first().map(|candidate| candidate.rule);
            live.retain(|candidate| builder.branches.take(builder.rule(candidate.rule)));
            match (alone, live.pop()) {
                (Some((targets, applied)), Some(Candidate { rule, captures, .. })) => {
                    step::add(builder, rule, captures, targets, applied);
                }
                (_, Some(one)) if live.is_empty() => {
                    produce(builder, instance, parameter, &one, &wanted, &by_name);
                }
                (_, last) => {
                    live.extend(last);
                    refuse(builder, parameter, &live, untaken);
                }
            }
        }
    }
}

/// How many steps are made before they are added: few enough to take little memory beside the plan.
const AT_ONCE: usize = 16 << 10;

/// The step of a parameter that comes from a rule which makes nothing else, as most do. It depends
/// on no other, so that several are made at once.
fn alone(
    builder: &Builder<'_>,
    instance: &dyn Instance,
    parameter: &Wanted,
    live: &[Candidate],
) -> Option<(Vec<Target>, Applied)> {
    let mut taken =
        live.iter().filter(|candidate| builder.branches.take(builder.rule(candidate.rule)));
    let (Some(Candidate { rule, name, captures }), None) = (taken.next(), taken.next()) else {
        return None;
    };
    if builder.is_shared(*rule) || builder.is_folded(*rule) {
        return None;
    }
    let targets = vec![parameter.target(instance, *name)];
    let applied = step::apply(builder, *rule, captures, &parameter.at, &targets);
    Some((targets, applied))
}

/// A parameter that no rule makes, or several do. `untaken` is a rule of a branch not taken.
fn refuse(
    builder: &mut Builder<'_>,
    parameter: &Wanted,
    live: &[Candidate],
    untaken: Option<usize>,
) {
    let name = parameter.name();
    let [first, second, ..] = live else {
        let rule = untaken.map(|rule| builder.rule(rule));
        let note = match rule.and_then(|rule| builder.branches.instead_of(rule)) {
            Some(taken) => {
                format!("the checkpoint's keys are those of `{taken}`, where no rule makes it")
            }
            None => "no rule of this importer makes it under this config".into(),
        };
        return builder.finding(FindingKind::NoRule, Problem::NoRule, name, untaken, vec![note]);
    };
    let at = builder.rule(second.rule).rule.at;
    let note = format!("by the rule here and by the rule at {at}");
    let (kind, problem) = (FindingKind::Ambiguous, Problem::Doubled);
    builder.finding(kind, problem, name, Some(first.rule), vec![note]);
    builder.failed.extend(live.iter().map(|candidate| candidate.rule));
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
    if rule.targets.len() == 1 && !matches!(rule.fold, Fold::Spread(_)) {
        let targets = vec![parameter.target(instance, candidate.name)];
        builder.step(candidate.rule, candidate.captures.clone(), &parameter.at, targets);
        return;
    }
    let (captures, names) = match targets(builder, instance, parameter, candidate) {
        Ok(targets) => targets,
        Err(note) => {
            let (kind, problem) = (FindingKind::Rule, Problem::Unable);
            let name = parameter.name();
            return builder.finding(kind, problem, name, Some(candidate.rule), vec![note]);
        }
    };
    let mut targets = Vec::new();
    for name in names {
        match by_name.get(name.as_str()) {
            Some(&number) => {
                let parameter = &wanted[number];
                let spelling = parameter.names.iter().position(|other| *other == name);
                targets.push(parameter.target(instance, spelling.unwrap_or_default()));
            }
            None => {
                let model = instance.schema().model;
                let note = format!("{model} has no such parameter under this config");
                let (kind, problem) = (FindingKind::Rule, Problem::NotParameter);
                return builder.finding(kind, problem, &name, Some(candidate.rule), vec![note]);
            }
        }
    }
    builder.step(candidate.rule, captures, &parameter.at, targets);
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

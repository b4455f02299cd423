//! The plan of a model with a schema, driven by the target.

use super::build::{Builder, Target};
use super::finding::{self, Problem};
use super::{Finding, FindingKind};
use crate::key::{Capture, Captures, Condition, Truth};
use crate::mapping::Fold;
use crate::schema::{Instance, Parameter, expand, flags_at};
use std::collections::{HashMap, HashSet};

/// A parameter that exists under the config, with concrete indices.
struct Wanted {
    target: Target,
    /// Where it is declared.
    parameter: &'static Parameter,
    /// Every spelling of its name, the canonical one first.
    names: Vec<String>,
    at: Vec<usize>,
    flags: u8,
}

impl Wanted {
    /// What is written where a rule has spelling number `name`: the one that the flags choose.
    fn spelling(&self, flags: &[&'static str], name: usize) -> &str {
        let choices = self.parameter.written_as;
        let holds = |when: Condition| when.truth(flags).is_ok_and(|truth| truth.holds(self.flags));
        let chosen = match choices.iter().find(|(when, _)| holds(*when)) {
            Some((_, aka)) => aka + 1,
            None if choices.iter().any(|(_, aka)| aka + 1 == name) => 0,
            None => name,
        };
        &self.names[chosen]
    }
}

/// A target of a rule that matches one of a parameter's names.
struct Candidate {
    rule: usize,
    name: usize,
    captures: Captures<'static>,
}

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
    let live: Vec<Vec<Candidate>> =
        wanted.iter().map(|parameter| candidates(builder, &truths, parameter)).collect();
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

/// The most parameters that a plan is made for: a hundred times what the largest models have. A
/// config from a file may name any number of layers.
const MOST_PARAMETERS: u64 = 10_000_000;

/// Whether the config's axes are longer than any model's, which is then a finding.
fn too_many(builder: &mut Builder<'_>, instance: &dyn Instance) -> bool {
    let schema = instance.schema();
    let axis = |name: &str| schema.axes.iter().position(|axis| *axis == name);
    let counts = schema.parameters.iter().map(|parameter| {
        let lengths = parameter.pattern.names().filter_map(axis).map(|n| instance.axis(n) as u64);
        lengths.fold(1, u64::saturating_mul)
    });
    if counts.fold(0, u64::saturating_add) <= MOST_PARAMETERS {
        return false;
    }
    let lengths: Vec<String> = schema
        .axes
        .iter()
        .enumerate()
        .map(|(number, axis)| format!("{axis} has {}", instance.axis(number)))
        .collect();
    let note = format!("under this config the axes are too long: {}", lengths.join(", "));
    builder.finding(FindingKind::Config, Problem::Unable, schema.model, None, vec![note]);
    true
}

/// The condition of each rule over the schema's flags. Unknown flags are findings, those of `==`
/// and `ignore` rows too.
fn conditions(
    builder: &mut Builder<'_>,
    instance: &dyn Instance,
) -> Result<Vec<Truth>, Vec<Finding>> {
    let schema = instance.schema();
    let mapping = builder.request.mapping;
    let before = builder.findings.len();
    let mut truth = |when: &[Condition], key: String, rule: Option<usize>| {
        when.iter().fold(Truth::ALWAYS, |truth, condition| match condition.truth(schema.flags) {
            Ok(part) => truth.and(part),
            Err(unknown) => {
                let flags = schema.flags.join(", ");
                let note = format!("`{unknown}` is not a flag of {}: {flags}", schema.model);
                builder.finding(FindingKind::Rule, Problem::Unable, &key, rule, vec![note]);
                truth
            }
        })
    };
    let mut truths = Vec::new();
    for (number, rule) in mapping.rules.iter().enumerate() {
        let key = rule.targets.first().map_or(String::new(), |target| target.to_string());
        truths.push(truth(&rule.when, key, Some(number)));
    }
    for row in &mapping.equal {
        truth(&row.when, row.left.to_string(), None);
    }
    for row in &mapping.ignore {
        truth(&row.when, row.pattern.to_string(), None);
    }
    match builder.findings.len() > before {
        true => Err(finding::group(std::mem::take(&mut builder.findings))),
        false => Ok(truths),
    }
}

/// Every parameter that exists under the config.
fn parameters(builder: &mut Builder<'_>, instance: &dyn Instance) -> Vec<Wanted> {
    let schema = instance.schema();
    let mut wanted = Vec::new();
    for (number, parameter) in schema.parameters.iter().enumerate() {
        // The macro has checked that the condition is over the schema's own flags.
        let truth = parameter.when.truth(schema.flags).unwrap_or(Truth::NEVER);
        for (captures, at) in expand(instance, &parameter.pattern) {
            let flags = flags_at(instance, &at);
            if !truth.holds(flags) {
                continue;
            }
            let field = |name: &str| {
                let field = schema.fields.iter().position(|field| *field == name)?;
                Some(instance.field(field, &at))
            };
            let spellings = std::iter::once(&parameter.pattern).chain(parameter.aka);
            let names: Option<Vec<String>> = spellings.map(|p| p.key(&captures, field)).collect();
            let Some(names) = names else {
                // Left out, it would be a parameter that nobody misses.
                let note = "its name needs an axis or a field that the schema does not have";
                let (kind, key) = (FindingKind::Rule, parameter.pattern.to_string());
                builder.finding(kind, Problem::Unable, &key, None, vec![note.into()]);
                continue;
            };
            let shape = Some(instance.shape(number, &at));
            let keep = parameter.keep.is_some();
            let target = Target { name: names[0].clone(), shape, keep };
            wanted.push(Wanted { target, parameter, names, at, flags });
        }
    }
    wanted
}

/// Which parameter each name stands for. A name that stands for two is a finding: the plan would
/// take the one for the other, and never write one of them.
fn names<'w>(builder: &mut Builder<'_>, wanted: &'w [Wanted]) -> HashMap<&'w str, usize> {
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (number, parameter) in wanted.iter().enumerate() {
        for name in &parameter.names {
            match by_name.insert(name, number) {
                Some(other) if other != number => {
                    let [one, other] = [number, other].map(|n| &wanted[n].target.name);
                    let note = format!("it is a name of {other} and of {one}");
                    let (kind, problem) = (FindingKind::Ambiguous, Problem::Shared);
                    builder.finding(kind, problem, name, None, vec![note]);
                }
                _ => {}
            }
        }
    }
    by_name
}

/// The rules that hold at `parameter` and have a target of one of its names.
fn candidates(builder: &Builder<'_>, truths: &[Truth], parameter: &Wanted) -> Vec<Candidate> {
    let field = builder.field(&parameter.at);
    let mut found = Vec::new();
    for (rule, flat) in builder.request.mapping.rules.iter().enumerate() {
        if !truths[rule].holds(parameter.flags) {
            continue;
        }
        for target in &flat.targets {
            for (name, text) in parameter.names.iter().enumerate() {
                if let Some(captures) = target.captures_with(text, &field) {
                    found.push(Candidate { rule, name, captures });
                }
            }
        }
    }
    found
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
    if rule.targets.len() == 1 && !matches!(rule.rule.fold, Fold::Spread(_)) {
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
    let (captures, names): (_, Option<Vec<String>>) = match (rule.rule.fold, &rule.targets[..]) {
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

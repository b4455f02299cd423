//! The parameters of a model under its config, and the rules that are live at each.

use super::build::{Builder, Target};
use super::finding::{self, Problem};
use super::{Finding, FindingKind};
use crate::base::{TensorInfo, parallel};
use crate::key::{Below, Captures, Condition, Pattern, Term};
use crate::mapping::FlatRule;
use crate::schema::{self, Exclusive, Existing, Instance, Parameter};
use crate::transform::Shape;
use foldhash::{HashMap, HashMapExt};

/// A parameter that exists under the config, with concrete indices.
pub(super) struct Wanted {
    /// Where it is declared.
    pub parameter: &'static Parameter,
    /// Every spelling of its name, the canonical one first.
    pub names: Vec<String>,
    pub shape: Shape,
    pub at: Vec<usize>,
}

impl Wanted {
    /// Its canonical name.
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    /// Whether a cast spares it.
    pub fn keep(&self) -> bool {
        self.parameter.keep.is_some()
    }

    /// As the target of a rule that has spelling number `name`.
    pub fn target(&self, instance: &dyn Instance, name: usize) -> Target {
        let name = self.spelling(instance, name).into();
        Target { name, shape: Some(self.shape.clone()), keep: self.keep() }
    }

    /// What is written where a rule has spelling number `name`: the one that the flags choose.
    fn spelling(&self, instance: &dyn Instance, name: usize) -> &str {
        let choices = self.parameter.written_as;
        let holds = |when: &Condition| schema::holds(instance, when, &self.at);
        let chosen = match choices.iter().find(|(when, _)| holds(when)) {
            Some((_, aka)) => aka + 1,
            None if choices.iter().any(|(_, aka)| aka + 1 == name) => 0,
            None => name,
        };
        &self.names[chosen]
    }
}

/// A key of a rule that matches one of a parameter's names.
pub(super) struct Candidate {
    pub rule: usize,
    pub name: usize,
    pub captures: Captures<'static>,
}

/// The most parameters that a plan is made for: a hundred times what the largest models have. A
/// config from a file may name any number of layers.
const MOST_PARAMETERS: u64 = 10_000_000;
/// The most that are listed as missing. Beyond, the config is not the checkpoint's, and a few bytes of
/// it must not take memory without end.
const MOST_MISSING: u64 = 1 << 13;

/// The most parameters that these tensors can make: one of each, or one of each of its first rows where
/// it holds those of all experts or layers.
fn most_of(tensors: &[TensorInfo]) -> u64 {
    let rows = |tensor: &TensorInfo| tensor.shape.first().map_or(1, |&rows| rows as u64);
    let of = |tensor: &TensorInfo| rows(tensor).min(tensor.elements()).max(1);
    tensors.iter().map(of).fold(0, u64::saturating_add)
}

/// Whether the config has more parameters than any model, or than the checkpoint's tensors can make
/// by far; that is then a finding.
pub(super) fn too_many(builder: &mut Builder<'_>, instance: &dyn Instance) -> bool {
    let schema = instance.schema();
    let axis = |name: &str| schema.axes.iter().position(|axis| *axis == name);
    let copies = builder.request.mapping.equal.iter().map(|row| &row.left);
    let names = schema.parameters.iter().map(|parameter| &parameter.pattern).chain(copies);
    let counts = names.map(|name| {
        let lengths = name.names().filter_map(axis).map(|n| instance.axis(n) as u64);
        lengths.fold(1, u64::saturating_mul)
    });
    let count = counts.fold(0, u64::saturating_add);
    let tensors = builder.request.tensors;
    if count <= MOST_PARAMETERS.min(most_of(tensors).saturating_add(MOST_MISSING)) {
        return false;
    }
    let lengths: Vec<String> = schema
        .axes
        .iter()
        .enumerate()
        .map(|(number, axis)| format!("{axis} has {}", instance.axis(number)))
        .collect();
    let note = format!(
        "under this config the axes are too long: {}; that makes up to {count} parameters, and the \
         checkpoint has {} tensors",
        lengths.join(", "),
        tensors.len()
    );
    builder.finding(FindingKind::Config, Problem::Unable, schema.model, None, vec![note]);
    true
}

/// Looks the conditions of rows over.
///
/// # Errors
/// Flags that the schema does not declare, and comparisons of what is no axis of it, or with what is no
/// field; and flags that hold together though they exclude each other.
pub(super) fn conditions(
    builder: &mut Builder<'_>,
    instance: &dyn Instance,
) -> Result<(), Vec<Finding>> {
    let schema = instance.schema();
    let mapping = builder.request.mapping;
    let before = builder.findings.len();
    let mut check = |when: &[Condition], key: String, rule: Option<usize>| {
        for term in when.iter().flat_map(|when| when.0) {
            let (name, what, known) = match term {
                Term::Flag(name) if !schema.flags.contains(name) => (name, "a flag", schema.flags),
                Term::Below(Below { axis, .. }) if !schema.axes.contains(axis) => {
                    (axis, "an axis", schema.axes)
                }
                Term::Below(Below { field, .. })
                    if !field.is_empty() && !schema.fields.contains(field) =>
                {
                    (field, "a field", schema.fields)
                }
                _ => continue,
            };
            let known = known.join(", ");
            let note = format!("`{name}` is not {what} of {}: {known}", schema.model);
            builder.finding(FindingKind::Rule, Problem::Unable, &key, rule, vec![note]);
        }
    };
    for (number, rule) in mapping.rules.iter().enumerate() {
        let key = rule.targets.first().map_or(String::new(), |target| target.to_string());
        check(&rule.when, key, Some(number));
    }
    for row in &mapping.equal {
        check(&row.when, row.left.to_string(), None);
    }
    for row in &mapping.ignore {
        check(&row.when, row.pattern.to_string(), None);
    }
    exclude(builder, instance);
    match builder.findings.len() > before {
        true => Err(finding::group(std::mem::take(&mut builder.findings))),
        false => Ok(()),
    }
}

/// Refuses a config under which flags hold together that the schema says exclude each other: what the
/// compiler has shown of the mapping rests on that.
fn exclude(builder: &mut Builder<'_>, instance: &dyn Instance) {
    let schema = instance.schema();
    for Exclusive { flags, exhaustive } in schema.one_of {
        let number = |name: &&str| schema.flags.iter().position(|flag| flag == name);
        let numbers: Vec<usize> = flags.iter().filter_map(number).collect();
        let places = schema
            .parameters
            .iter()
            .flat_map(|parameter| schema::expand(instance, &parameter.pattern));
        let wrong = places.into_iter().find_map(|(captures, at)| {
            let holds = numbers.iter().filter(|flag| instance.flag(**flag, &at));
            let holds: Vec<&str> = holds.map(|flag| schema.flags[*flag]).collect();
            let fits = holds.len() == 1 || holds.is_empty() && !exhaustive;
            (!fits).then_some((captures, holds))
        });
        let Some((captures, holds)) = wrong else { continue };
        let place = if captures.is_empty() { String::new() } else { format!(" at {captures}") };
        let found = if holds.is_empty() { "none".into() } else { holds.join(" and ") };
        let hold = if holds.len() > 1 { "hold" } else { "holds" };
        let said = if *exhaustive { "one of" } else { "at most one of" };
        let note = format!(
            "{} declares `{said} {}`, but under this config {found} {hold}{place}",
            schema.model,
            flags.join(", ")
        );
        builder.finding(FindingKind::Config, Problem::Unable, flags[0], None, vec![note]);
    }
}

/// Every parameter that exists under the config.
pub(super) fn parameters(builder: &mut Builder<'_>, instance: &dyn Instance) -> Vec<Wanted> {
    let existing = schema::existing(instance);
    let named = parallel::each(existing.len(), |number| {
        let parameter = &existing[number];
        let names = schema::names(instance, parameter)?;
        Some((names, instance.shape(parameter.number, &parameter.at)))
    });
    let mut wanted = Vec::with_capacity(existing.len());
    for (Existing { number, at, .. }, named) in existing.into_iter().zip(named) {
        let declared = &instance.schema().parameters[number];
        let Some((names, shape)) = named else {
            // Left out, it would be a parameter that nobody misses.
            let note = "its name needs an axis or a field that the schema does not have";
            let (kind, key) = (FindingKind::Rule, declared.pattern.to_string());
            builder.finding(kind, Problem::Unable, &key, None, vec![note.into()]);
            continue;
        };
        wanted.push(Wanted { parameter: declared, names, shape, at });
    }
    wanted
}

/// Which parameter each name stands for. A name that stands for two is a finding: the plan would
/// take the one for the other, and never write one of them.
pub(super) fn names<'w>(
    builder: &mut Builder<'_>,
    wanted: &'w [Wanted],
) -> HashMap<&'w str, usize> {
    let mut by_name: HashMap<&str, usize> = HashMap::with_capacity(wanted.len());
    for (number, parameter) in wanted.iter().enumerate() {
        for name in &parameter.names {
            match by_name.insert(name, number) {
                Some(other) if other != number => {
                    let [one, other] = [number, other].map(|n| wanted[n].name());
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

/// The rules that hold at `parameter` and have a key of one of its names on the model's side.
pub(super) fn candidates(
    builder: &Builder<'_>,
    instance: &dyn Instance,
    parameter: &Wanted,
    side: impl Fn(&FlatRule) -> &[Pattern<'static>],
) -> Vec<Candidate> {
    let field = builder.field(&parameter.at);
    // As a rule there is one.
    let mut found = Vec::with_capacity(1);
    for (rule, flat) in builder.request.mapping.rules.iter().enumerate() {
        let first = found.len();
        for pattern in side(flat) {
            for (name, text) in parameter.names.iter().enumerate() {
                if let Some(captures) = pattern.captures_with(text, &field) {
                    found.push(Candidate { rule, name, captures });
                }
            }
        }
        // Few conditions are asked for: most rules have no key of this name.
        let holds = |when: &Condition| schema::holds(instance, when, &parameter.at);
        if found.len() > first && !flat.when.iter().all(holds) {
            found.truncate(first);
        }
    }
    found
}

/// For each rule whether it is live at some parameter.
pub(super) fn live_at_all(builder: &Builder<'_>, live: &[Vec<Candidate>]) -> Vec<bool> {
    let mut rules = vec![false; builder.request.mapping.rules.len()];
    live.iter().flatten().for_each(|candidate| rules[candidate.rule] = true);
    rules
}

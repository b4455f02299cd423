use super::fit::Fit;
use super::fit_parameter;
use crate::Location;
use crate::key::{Condition, Pattern, Truth};
use crate::mapping::{Row, Rule};
use crate::schema::{Parameter, Schema};

/// The most rows that can be told apart for one parameter. More than a few is a mistake already,
/// and every one beyond the first is reported as a conflict.
const MAX_PRODUCERS: usize = 8;

/// A row that makes a parameter.
#[derive(Clone, Copy)]
struct Producer {
    when: Truth,
    at: Location,
    /// Whether it makes it for every index. One that does not counts in conflicts only.
    whole: bool,
}

/// The rows that make one parameter, and when.
#[derive(Clone, Copy)]
pub(super) struct Producers {
    rows: [Producer; MAX_PRODUCERS],
    len: usize,
    /// A `one_of` of which only some branches make it.
    pub differing: Option<Location>,
}

const NOBODY: Producer =
    Producer { when: Truth::NEVER, at: Location { file: "", line: 0, column: 0 }, whole: false };

impl Producers {
    const NONE: Producers = Producers { rows: [NOBODY; MAX_PRODUCERS], len: 0, differing: None };

    /// When some row makes it.
    pub const fn union(&self) -> Truth {
        let mut all = Truth::NEVER;
        let mut i = 0;
        while i < self.len {
            if self.rows[i].whole {
                all = all.or(self.rows[i].when);
            }
            i += 1;
        }
        all
    }

    /// Two rows that both make it where it exists, and where they do.
    pub const fn conflict(&self, exists: Truth) -> Option<(Location, Location, Truth)> {
        let mut i = 0;
        while i < self.len {
            let mut j = i + 1;
            while j < self.len {
                let (a, b) = (self.rows[i], self.rows[j]);
                let both = exists.and(a.when).and(b.when);
                // Rows for single indices may be for different ones; the plan sees which.
                if !both.is_never() && (a.whole || b.whole) {
                    return Some((a.at, b.at, both));
                }
                j += 1;
            }
            i += 1;
        }
        None
    }

    const fn add(mut self, when: Truth, at: Location, whole: bool) -> Self {
        if self.len < MAX_PRODUCERS {
            self.rows[self.len] = Producer { when, at, whole };
            self.len += 1;
        }
        self
    }
}

/// The rows that make `parameter`.
pub(super) const fn producers(rows: &[Row], parameter: &Parameter, schema: &Schema) -> Producers {
    collect(Producers::NONE, rows, &Pattern::EMPTY, Truth::ALWAYS, parameter, schema)
}

const fn collect(
    mut found: Producers,
    rows: &[Row],
    prefix: &Pattern<'static>,
    when: Truth,
    parameter: &Parameter,
    schema: &Schema,
) -> Producers {
    let mut i = 0;
    while i < rows.len() {
        found = match &rows[i] {
            Row::Rule(rule) => collect_rule(found, rule, prefix, when, parameter, schema),
            Row::Rules(rules) => {
                let mut r = 0;
                while r < rules.len() {
                    found = collect_rule(found, &rules[r], prefix, when, parameter, schema);
                    r += 1;
                }
                found
            }
            Row::Block(block) => {
                let when = when.and(truth(&block.when, schema));
                let prefix = prefix.join(&block.target);
                collect(found, block.rows, &prefix, when, parameter, schema)
            }
            Row::Include(mapping) => collect(found, mapping.rows, prefix, when, parameter, schema),
            Row::OneOf(one_of) => {
                // One branch is taken, and nobody knows which: it is made where all make it.
                let (mut all, mut any, mut b) = (when, Truth::NEVER, 0);
                while b < one_of.branches.len() {
                    let rows = one_of.branches[b].rows;
                    let made = collect(Producers::NONE, rows, prefix, when, parameter, schema);
                    if let Some((first, second, _)) = made.conflict(Truth::ALWAYS) {
                        found = found.add(when, first, true).add(when, second, true);
                    }
                    all = all.and(made.union());
                    any = any.or(made.union());
                    b += 1;
                }
                if !any.is_never() {
                    if !any.implies(all) {
                        found.differing = Some(one_of.at);
                    }
                    found = found.add(all, one_of.at, true);
                }
                found
            }
            Row::Equal(_) | Row::Ignore(_) => found,
        };
        i += 1;
    }
    found
}

const fn collect_rule(
    mut found: Producers,
    rule: &Rule,
    prefix: &Pattern<'static>,
    when: Truth,
    parameter: &Parameter,
    schema: &Schema,
) -> Producers {
    let when = when.and(truth(&rule.when, schema));
    let mut t = 0;
    while t < rule.targets.len() {
        match fit_parameter(&prefix.join(&rule.targets[t]), parameter) {
            Fit::Whole => found = found.add(when, rule.at, true),
            Fit::Part => found = found.add(when, rule.at, false),
            Fit::None => {}
        }
        t += 1;
    }
    found
}

const fn truth(condition: &Condition, schema: &Schema) -> Truth {
    match condition.truth(schema.flags) {
        Ok(truth) => truth,
        // `unknown_flag` reports it before anything else is looked at.
        Err(_) => Truth::ALWAYS,
    }
}

/// A condition that names no flag of the schema.
pub(super) struct UnknownFlag {
    pub flag: &'static str,
    pub at: Location,
}

/// The first condition of a mapping that names no flag.
pub(super) const fn unknown_flag(rows: &[Row], flags: &[&'static str]) -> Option<UnknownFlag> {
    let mut i = 0;
    while i < rows.len() {
        let found = match &rows[i] {
            Row::Rule(rule) => unknown(&rule.when, rule.at, flags),
            Row::Rules(rules) => {
                let (mut r, mut found) = (0, None);
                while r < rules.len() && found.is_none() {
                    found = unknown(&rules[r].when, rules[r].at, flags);
                    r += 1;
                }
                found
            }
            Row::Block(block) => match unknown(&block.when, block.at, flags) {
                None => unknown_flag(block.rows, flags),
                found => found,
            },
            Row::Include(mapping) => unknown_flag(mapping.rows, flags),
            Row::OneOf(one_of) => {
                let (mut b, mut found) = (0, None);
                while b < one_of.branches.len() && found.is_none() {
                    found = unknown_flag(one_of.branches[b].rows, flags);
                    b += 1;
                }
                found
            }
            Row::Equal(equal) => unknown(&equal.when, equal.at, flags),
            Row::Ignore(ignore) => unknown(&ignore.when, ignore.at, flags),
        };
        if found.is_some() {
            return found;
        }
        i += 1;
    }
    None
}

const fn unknown(when: &Condition, at: Location, flags: &[&'static str]) -> Option<UnknownFlag> {
    match when.truth(flags) {
        Ok(_) => None,
        Err(flag) => Some(UnknownFlag { flag, at }),
    }
}

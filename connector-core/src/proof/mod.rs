//! What the compiler checks of a schema with blocks, and of an importer with a schema: every parameter is produced, under every
//! combination of the flags, by one row; with a schema for the other side, every tensor is read.
//!
//! The attribute writes a constant with the [`Proof`] of the mapping, and beside each row, and
//! beside the importer's type, a constant that reports what the proof has found there: its
//! evaluation panics, which is a compile error at that place with the text of [`Message`].
//! Everything here is a `const fn`, so loops are written out; the compiler interprets them, so that
//! what grows with rows times parameters is avoided (see [`index`]).

mod axes;
mod cube;
mod finding;
mod fit;
mod flags;
mod flat;
mod include;
mod index;
mod meet;
mod message;
mod missing;
#[cfg(test)]
mod mutations;
mod near;
mod producers;
mod readers;
mod report;
mod roles;

pub use flags::Flags;
pub use flat::{Flat, count, flatten};
pub use include::check_include;
pub use message::Message;
pub use report::LINE;

use crate::Location;
use crate::key::{Offset, Part, Pattern, Truth, same};
use crate::schema::Schema;
use finding::{Finding, Findings};
use flat::Role;
use index::Index;
use near::{nearest, whole};
use producers::{Keys, Known, NOTHING, Producers};
use roles::Roles;

/// What is known of a mapping.
pub struct Proof<'a, const N: usize> {
    importer: &'a str,
    model: Option<Schema>,
    format: Option<Schema>,
    flags: Flags,
    flat: &'a Flat<N>,
    /// Where the importer's own rows stand.
    rows: &'a [Location],
    findings: Findings,
}

/// Whose parameters: those that are made, or those that are read.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Side {
    Model,
    Format,
}

impl<'a, const N: usize> Proof<'a, N> {
    /// Examines the mapping of which `flat` has the keys. Without the schema of a side nothing is
    /// asked of its keys but that they can be formed; `export` asks for inverses.
    pub const fn new(
        importer: &'a str,
        model: Option<Schema>,
        format: Option<Schema>,
        flat: &'a Flat<N>,
        rows: &'a [Location],
        export: bool,
    ) -> Self {
        let flags = flat.flags;
        let findings = Findings::NONE;
        let mut proof = Proof { importer, model, format, flags, flat, rows, findings };
        proof.examine_keys(export);
        // Without its keys and conditions nothing else about a mapping is known.
        let formed = proof.findings.all().is_empty() || export && proof.only_one_way();
        if formed && proof.model.is_some() {
            let model = proof.examine(Side::Model, Keys::of_model(flat));
            if proof.format.is_some() {
                let format = proof.examine(Side::Format, Keys::of_format(flat, &model));
                proof.examine_axes(&model, Some(&format));
            } else {
                proof.examine_axes(&model, None);
            }
            proof.examine_readers(&model);
            let mut roles = Roles::of(flat, proof.model.as_ref(), proof.format.as_ref());
            roles.examine(flat, &mut proof.findings);
        }
        proof
    }

    const fn schema(&self, side: Side) -> &Schema {
        let schema = match side {
            Side::Model => &self.model,
            Side::Format => &self.format,
        };
        match schema {
            Some(schema) => schema,
            None => panic!("only a side with a schema has findings about parameters"),
        }
    }

    /// When a parameter exists.
    const fn condition(&self, side: Side, parameter: usize) -> Truth {
        self.flags.possible(self.declared(side, parameter), 0)
    }

    /// When a parameter exists, as its declaration says it.
    const fn declared(&self, side: Side, parameter: usize) -> Truth {
        self.flags.truth(&self.schema(side).parameters[parameter].when)
    }

    /// What a key shows by itself.
    const fn examine_keys(&mut self, export: bool) {
        use Role::{Allowed, FirstTarget, Target};
        let mut key = 0;
        while key < self.flat.len {
            let it = &self.flat.keys[key];
            // Of the keys of one row the first says it.
            let again = key > 0
                && same_place(self.flat.keys[key - 1].at, it.at)
                && self.flat.keys[key - 1].pattern.is_err();
            if it.pattern.is_err() && !again {
                self.findings.add(Finding::Unformed { key });
            }
            if let (Some(flag), true) = (it.unknown, self.model.is_some()) {
                self.findings.add(Finding::UnknownFlag { key, flag });
            }
            if let (Ok(pattern), true) = (&it.pattern, self.model.is_some()) {
                if let (Some(below), FirstTarget | Target | Allowed) =
                    (self.flags.unbound(it.when, pattern), it.role)
                {
                    self.findings.add(Finding::Unbound { key, below });
                }
                if let Some((axis, least)) = negative(pattern)
                    && !self.flags.is_from(it.when, axis, least)
                    && !matches!(it.role, Role::Block)
                {
                    self.findings.add(Finding::Negative { key, axis, least });
                }
            }
            if let (FirstTarget, Some(rule), true) = (it.role, it.rule, export)
                && rule.one_way().is_some()
                && self.is_exported(it.branch)
            {
                self.findings.add(Finding::OneWay { key });
            }
            key += 1;
        }
    }

    /// Whether export writes the rows of a branch: it takes the first one of each choice.
    const fn is_exported(&self, mut branch: usize) -> bool {
        while branch != 0 {
            if !self.flat.branches[branch].first {
                return false;
            }
            branch = self.flat.branches[branch].parent;
        }
        true
    }

    const fn only_one_way(&self) -> bool {
        let mut i = 0;
        while i < self.findings.all().len() {
            if !matches!(self.findings.all()[i], Finding::OneWay { .. }) {
                return false;
            }
            i += 1;
        }
        true
    }

    /// What a target that names a parameter shows of itself.
    const fn examine_target(&mut self, key: usize, pattern: &Pattern<'static>, keys: &Keys<N>) {
        let (parameter, other) = (keys.parameter[key], keys.other[key]);
        let (mut any, mut named, mut i) = (false, true, 0);
        while let Some(part) = pattern.part(i) {
            any |= matches!(part, Part::Any);
            named &= matches!(part, Part::Text(_) | Part::Index { .. });
            i += 1;
        }
        if any {
            self.findings.add(Finding::AnyTarget { key });
        }
        if named && other != NOTHING {
            self.findings.add(Finding::Ambiguous { key, parameter, other });
        }
        if let Some(rule) = self.flat.keys[key].rule
            && rule.optional
            && Truth::ALWAYS.implies(keys.exists[key])
        {
            self.findings.add(Finding::Optional { key, parameter });
        }
    }

    /// Holds the keys of a side against its schema; what became known of them.
    const fn examine(&mut self, side: Side, mut keys: Keys<N>) -> Keys<N> {
        let flat = self.flat;
        let schema = *self.schema(side);
        let is_model = matches!(side, Side::Model);
        let index = Index::new(flat, is_model);
        // What no row makes is judged when it is known which rows are misspelt.
        let mut gaps = Findings::NONE;
        let mut unmade = Unmade::NONE;
        let mut parameter = 0;
        while parameter < schema.parameters.len() {
            let exists = self.condition(side, parameter);
            let it = &schema.parameters[parameter];
            let made = Producers::find(flat, &index, parameter, it, exists, &mut keys);
            let exists = match self.flags.know_more() {
                true => self.flags.possible(exists, made.flags()),
                false => exists,
            };
            let made = made.made(flat, exists);
            let there = if is_model { made.certain } else { made.possible };
            let gap = exists.and(there.not());
            if !gap.is_never() {
                let differing = if is_model { made.differing } else { None };
                gaps.add(Finding::Missing { side, parameter, gap, differing });
                unmade.add(parameter);
            }
            if let (true, Some((first, second, both))) = (is_model, made.conflict) {
                self.findings.add(Finding::Doubled { parameter, first, second, both });
            }
            parameter += 1;
        }
        let mut key = 0;
        while key < flat.len {
            let role = flat.keys[key].role;
            let own = if is_model { role.is_target() } else { role.is_source() };
            match (keys.known[key], &flat.keys[key].pattern) {
                (Known::No, Ok(pattern)) if own => {
                    let near = match whole(&schema, &flat.keys[key], key) {
                        None => nearest(&schema, pattern, &unmade),
                        whole => whole,
                    };
                    self.findings.add(Finding::Stranger { side, key, near });
                }
                (Known::Idle(parameter), _) if own && is_model => {
                    self.findings.add(Finding::Idle { key, parameter });
                }
                (Known::Applies, Ok(pattern)) if own && is_model => {
                    self.examine_target(key, pattern, &keys);
                }
                _ => {}
            }
            key += 1;
        }
        let mut i = 0;
        while i < gaps.all().len() {
            if let Finding::Missing { parameter, .. } = gaps.all()[i]
                && !self.findings.is_meant(side, parameter)
            {
                self.findings.add(gaps.all()[i]);
            }
            i += 1;
        }
        self.findings.beyond += gaps.beyond;
        keys
    }
}

/// An index of which a pattern shows less, and the least for which that is not negative.
const fn negative(pattern: &Pattern<'static>) -> Option<(&'static str, u64)> {
    let mut i = 0;
    while let Some(part) = pattern.part(i) {
        if let Part::Index { name, offset: Offset::Minus(n), scale } = part {
            return Some((name, n.div_ceil(scale)));
        }
        i += 1;
    }
    None
}

pub(crate) const fn same_place(a: Location, b: Location) -> bool {
    a.line == b.line && a.column == b.column && same(a.file, b.file)
}

/// The first parameters that no row makes.
struct Unmade {
    list: [usize; 64],
    len: usize,
}

impl Unmade {
    const NONE: Unmade = Unmade { list: [0; 64], len: 0 };

    const fn add(&mut self, parameter: usize) {
        if self.len < self.list.len() {
            self.list[self.len] = parameter;
            self.len += 1;
        }
    }

    const fn has(&self, parameter: usize) -> bool {
        let mut i = 0;
        while i < self.len {
            if self.list[i] == parameter {
                return true;
            }
            i += 1;
        }
        false
    }
}

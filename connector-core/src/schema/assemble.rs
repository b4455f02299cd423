//! A schema put together, in constants, of what it declares itself and of the blocks that it
//! includes.

use super::{Depends, Entry, Exclusive, Experts, Included, Parameter, Schema, Vocabulary};
use crate::key::{Condition, Pattern, Role, Term};

/// How many values of each kind the entries of a declaration stand for.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Parameters.
    pub parameters: usize,
    /// Their other spellings.
    pub spellings: usize,
    /// The terms of conditions that a block's parameters get from where it is included.
    pub terms: usize,
    /// The flags and fields of blocks that depend on an axis.
    pub depends: usize,
    /// What blocks say of flags that exclude each other.
    pub exclusive: usize,
}

/// What [`names`] collects.
#[derive(Clone, Copy)]
pub enum Declared {
    /// Axes.
    Axes,
    /// Fields.
    Fields,
    /// Flags.
    Flags,
}

impl Declared {
    /// Those of a block.
    pub const fn of(self, schema: &Schema) -> &'static [&'static str] {
        match self {
            Declared::Axes => schema.axes,
            Declared::Fields => schema.fields,
            Declared::Flags => schema.flags,
        }
    }

    /// What declares it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Declared::Axes => "axis",
            Declared::Fields => "field",
            Declared::Flags => "flag",
        }
    }
}

/// How much room the lists of a schema with these entries need.
pub const fn sizes(entries: &[Entry]) -> Sizes {
    let zero = Sizes { parameters: 0, spellings: 0, terms: 0, depends: 0, exclusive: 0 };
    let (mut sizes, mut e) = (zero, 0);
    while e < entries.len() {
        match &entries[e] {
            Entry::Parameter(_) => sizes.parameters += 1,
            Entry::Block(include) => {
                let parameters = include.schema.parameters;
                sizes.parameters += parameters.len();
                sizes.depends += include.schema.depends.len();
                sizes.exclusive += include.schema.one_of.len();
                let mut p = 0;
                while p < parameters.len() {
                    sizes.spellings += parameters[p].aka.len();
                    sizes.terms += joined(&include.when, &parameters[p].when);
                    p += 1;
                }
            }
        }
        e += 1;
    }
    sizes
}

/// How many terms the conditions of an include and of a parameter have together, if they need a list
/// of their own.
const fn joined(include: &Condition, parameter: &Condition) -> usize {
    match (include.0.len(), parameter.0.len()) {
        (0, _) | (_, 0) => 0,
        (a, b) => a + b + 1,
    }
}

/// How many names the blocks of a declaration add.
pub const fn count(entries: &[Entry], what: Declared) -> usize {
    let (mut count, mut e) = (0, 0);
    while e < entries.len() {
        if let Entry::Block(include) = &entries[e] {
            count += what.of(&include.schema).len();
        }
        e += 1;
    }
    count
}

/// What depends on axes: of its own, then of its blocks.
pub const fn depends<const N: usize>(own: &[Depends], entries: &[Entry]) -> [Depends; N] {
    let (mut all, mut n) = ([Depends { name: "", axis: "", is_flag: false }; N], 0);
    while n < own.len() {
        all[n] = own[n];
        n += 1;
    }
    let mut e = 0;
    while e < entries.len() {
        if let Entry::Block(include) = &entries[e] {
            let mut i = 0;
            while i < include.schema.depends.len() {
                all[n] = include.schema.depends[i];
                (n, i) = (n + 1, i + 1);
            }
        }
        e += 1;
    }
    all
}

/// The axis of experts: its own, or else a block's.
pub const fn experts(own: Option<Experts>, entries: &[Entry]) -> Option<Experts> {
    let (mut found, mut e) = (own, 0);
    while e < entries.len() {
        if let (Entry::Block(include), None) = (&entries[e], &found) {
            found = include.schema.experts;
        }
        e += 1;
    }
    found
}

/// The vocabulary: its own, or else a block's.
pub const fn vocabulary(own: Option<Vocabulary>, entries: &[Entry]) -> Option<Vocabulary> {
    let (mut found, mut e) = (own, 0);
    while e < entries.len() {
        if let (Entry::Block(include), None) = (&entries[e], &found) {
            found = include.schema.vocabulary;
        }
        e += 1;
    }
    found
}

/// The names that a schema declares itself, then those of its blocks.
pub const fn names<const N: usize>(
    own: &[&'static str],
    entries: &[Entry],
    what: Declared,
) -> [&'static str; N] {
    let (mut all, mut n) = ([""; N], 0);
    while n < own.len() {
        all[n] = own[n];
        n += 1;
    }
    let mut e = 0;
    while e < entries.len() {
        if let Entry::Block(include) = &entries[e] {
            let (names, mut i) = (what.of(&include.schema), 0);
            while i < names.len() {
                all[n] = names[i];
                n += 1;
                i += 1;
            }
        }
        e += 1;
    }
    all
}

/// What a schema says itself of flags that exclude each other, then what its blocks say.
pub const fn exclusive<const N: usize>(own: &[Exclusive], entries: &[Entry]) -> [Exclusive; N] {
    let (mut all, mut n) = ([Exclusive { flags: &[], exhaustive: false }; N], 0);
    while n < own.len() {
        all[n] = own[n];
        n += 1;
    }
    let mut e = 0;
    while e < entries.len() {
        if let Entry::Block(include) = &entries[e] {
            let (of, mut i) = (include.schema.one_of, 0);
            while i < of.len() {
                all[n] = of[i];
                n += 1;
                i += 1;
            }
        }
        e += 1;
    }
    all
}

/// The other spellings of all parameters of blocks, whole.
pub const fn spellings<const N: usize>(entries: &[Entry]) -> [Pattern<'static>; N] {
    let (mut all, mut n, mut e) = ([Pattern::EMPTY; N], 0, 0);
    while e < entries.len() {
        if let Entry::Block(include) = &entries[e] {
            let (parameters, mut p) = (include.schema.parameters, 0);
            while p < parameters.len() {
                let mut a = 0;
                while a < parameters[p].aka.len() {
                    all[n] = include.whole(&parameters[p].aka[a]);
                    n += 1;
                    a += 1;
                }
                p += 1;
            }
        }
        e += 1;
    }
    all
}

/// The conditions of includes and of the parameters of their blocks, joined.
pub const fn terms<const N: usize>(entries: &[Entry]) -> [Term; N] {
    let (mut all, mut n, mut e) = ([Term::And; N], 0, 0);
    while e < entries.len() {
        if let Entry::Block(include) = &entries[e] {
            let (parameters, mut p) = (include.schema.parameters, 0);
            while p < parameters.len() {
                let when = &parameters[p].when;
                if joined(&include.when, when) > 0 {
                    let (first, second) = (include.when.0, when.0);
                    let mut t = 0;
                    while t < first.len() + second.len() {
                        all[n] = if t < first.len() { first[t] } else { second[t - first.len()] };
                        n += 1;
                        t += 1;
                    }
                    // And after them.
                    n += 1;
                }
                p += 1;
            }
        }
        e += 1;
    }
    all
}

const NOBODY: Parameter = Parameter {
    pattern: Pattern::EMPTY,
    when: Condition::ALWAYS,
    aka: &[],
    written_as: &[],
    keep: None,
    said: Role::UNKNOWN,
    entry: (0, 0),
    at: crate::Location { file: "", line: 0, column: 0 },
};

/// All parameters, in the order of the entries. `spellings` and `terms` are those of the entries.
pub const fn parameters<const N: usize>(
    entries: &[Entry],
    mut spellings: &'static [Pattern<'static>],
    mut terms: &'static [Term],
) -> [Parameter; N] {
    let (mut all, mut n, mut e) = ([NOBODY; N], 0, 0);
    while e < entries.len() {
        match &entries[e] {
            Entry::Parameter(parameter) => {
                all[n] = *parameter;
                n += 1;
            }
            Entry::Block(include) => {
                let mut p = 0;
                while p < include.schema.parameters.len() {
                    let parameter = &include.schema.parameters[p];
                    let (aka, after) = spellings.split_at(parameter.aka.len());
                    let (both, behind) = terms.split_at(joined(&include.when, &parameter.when));
                    (spellings, terms) = (after, behind);
                    let when = match (include.when.0, parameter.when.0) {
                        (one, []) | ([], one) => one,
                        _ => both,
                    };
                    all[n] = Parameter {
                        pattern: include.whole(&parameter.pattern),
                        when: Condition(when),
                        aka,
                        entry: (include.entry, p),
                        ..*parameter
                    };
                    n += 1;
                    p += 1;
                }
            }
        }
        e += 1;
    }
    all
}

impl Included {
    /// The name of a parameter of the block where it is included. What cannot be joined
    /// [`check_include`](crate::proof::check_include) reports.
    const fn whole(&self, name: &Pattern<'static>) -> Pattern<'static> {
        match self.prefix.try_join(name) {
            Ok(whole) => whole,
            Err(_) => Pattern::EMPTY,
        }
    }
}

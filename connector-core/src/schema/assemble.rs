//! A schema put together, in constants, of what it declares itself and of the blocks that it
//! includes.

use super::{Entry, Included, Parameter, Schema};
use crate::key::{Condition, JoinError, Pattern, Term, same};
use crate::proof::{Fit, LINE, Message, fit};

/// How many values of each kind the entries of a declaration stand for.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Parameters.
    pub parameters: usize,
    /// Their other spellings.
    pub spellings: usize,
    /// The terms of conditions that a block's parameters get from where it is included.
    pub terms: usize,
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

    const fn word(self) -> &'static str {
        match self {
            Declared::Axes => "axis",
            Declared::Fields => "field",
            Declared::Flags => "flag",
        }
    }
}

/// How much room the lists of a schema with these entries need.
pub const fn sizes(entries: &[Entry]) -> Sizes {
    let (mut sizes, mut e) = (Sizes { parameters: 0, spellings: 0, terms: 0 }, 0);
    while e < entries.len() {
        match &entries[e] {
            Entry::Parameter(_) => sizes.parameters += 1,
            Entry::Block(include) => {
                let parameters = include.schema.parameters;
                sizes.parameters += parameters.len();
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
    /// [`check_include`] reports.
    const fn whole(&self, name: &Pattern<'static>) -> Pattern<'static> {
        match self.prefix.try_join(name) {
            Ok(whole) => whole,
            Err(_) => Pattern::EMPTY,
        }
    }
}

/// Refuses a block that does not fit where it is included, entry number `entry` of `schema`.
///
/// # Panics
/// If it does not.
#[track_caller]
pub const fn check_include(schema: &Schema, entries: &[Entry], entry: usize) {
    let mut place = 0;
    let include = loop {
        match &entries[place] {
            Entry::Block(include) if include.entry == entry => break include,
            _ => place += 1,
        }
    };
    let block = &include.schema;
    let mut text = Message::EMPTY;
    text = declared_twice(text, schema, entries, place, Declared::Axes);
    text = declared_twice(text, schema, entries, place, Declared::Fields);
    text = declared_twice(text, schema, entries, place, Declared::Flags);
    text = undeclared(text, schema, block, block.outer.flags, Declared::Flags);
    text = undeclared(text, schema, block, block.outer.axes, Declared::Axes);
    let mut a = 0;
    while a < block.outer.axes.len() {
        let axis = block.outer.axes[a];
        if has(schema.axes, axis) && !captures(&include.prefix, axis) {
            text = text.paragraph().text("the block `").text(block.model);
            text = text.text("` depends on `").text(axis).text("`, but no name around it has `{");
            text = text.text(axis).text("}`").text(LINE);
            text = text.text("include it under a prefix with `{").text(axis).text("}`");
        }
        a += 1;
    }
    let (mut p, mut first) = (0, 0);
    while p < schema.parameters.len() {
        if schema.parameters[p].entry.0 < entry {
            first += 1;
        }
        p += 1;
    }
    let mut number = 0;
    while number < block.parameters.len() {
        if let Err(error) = include.prefix.try_join(&block.parameters[number].pattern) {
            text = text.paragraph().text("`").pattern(&block.parameters[number].pattern);
            text = match error {
                JoinError::Repeated { name } => text
                    .text("` captures `{")
                    .text(name)
                    .text("}`, which the prefix of the block captures already"),
                _ => text.text("` has too many parts with the prefix of the block"),
            };
        } else {
            text = made_twice(text, schema, entries, place, first + number);
        }
        number += 1;
    }
    if schema.flags.len() > crate::key::MAX_FLAGS {
        text = text.paragraph().text("a schema has at most ").number(crate::key::MAX_FLAGS);
        text = text.text(" flags, and with those of its blocks this has ");
        text = text.number(schema.flags.len());
    }
    text.raise();
}

const fn has(names: &[&str], name: &str) -> bool {
    let mut i = 0;
    while i < names.len() {
        if same(names[i], name) {
            return true;
        }
        i += 1;
    }
    false
}

const fn captures(pattern: &Pattern<'static>, axis: &str) -> bool {
    let mut i = 0;
    while let Some(part) = pattern.part(i) {
        if let Some(name) = part.name()
            && same(name, axis)
        {
            return true;
        }
        i += 1;
    }
    false
}

/// Names of a block that the schema, or a block before, declares too.
const fn declared_twice(
    mut text: Message,
    schema: &Schema,
    entries: &[Entry],
    entry: usize,
    what: Declared,
) -> Message {
    let Entry::Block(include) = &entries[entry] else { return text };
    let all = what.of(schema);
    let own = what.of(&include.schema);
    // What this and the blocks after it declare are the last ones.
    let before = all.len() - count(entries.split_at(entry).1, what);
    let mut n = 0;
    while n < own.len() {
        if has(all.split_at(before).0, own[n]) {
            text = text.paragraph().text("the ").text(what.word()).text(" `").text(own[n]);
            text = text.text("` is declared twice: the block `").text(include.schema.model);
            text = text.text("` declares it too").text(LINE);
            text = text.text("drop the other declaration, or leave its value out in the block, `");
            text = text.text(what.word()).text(" ").text(own[n]).text(";`");
        }
        n += 1;
    }
    text
}

/// Names that a block leaves to the schema around it, and which that does not declare.
const fn undeclared(
    mut text: Message,
    schema: &Schema,
    block: &Schema,
    outer: &[&str],
    what: Declared,
) -> Message {
    let around = match what {
        Declared::Axes => schema.outer.axes,
        Declared::Fields => &[],
        Declared::Flags => schema.outer.flags,
    };
    let mut n = 0;
    while n < outer.len() {
        if !has(what.of(schema), outer[n]) && !has(around, outer[n]) {
            text = text.paragraph().text("the block `").text(block.model).text("` needs the ");
            text = text.text(what.word()).text(" `").text(outer[n]).text("`, which `");
            text = text.text(schema.model).text("` does not declare").text(LINE);
            text = text.text("declare it there: `").text(what.word()).text(" ").text(outer[n]);
            text = text.text(" = …;`");
        }
        n += 1;
    }
    text
}

/// Whether the schema declares entry number `entry` itself.
const fn is_own(entries: &[Entry], entry: usize) -> bool {
    let mut e = 0;
    while e < entries.len() {
        if let Entry::Parameter(parameter) = &entries[e]
            && parameter.entry.0 == entry
        {
            return true;
        }
        e += 1;
    }
    false
}

/// A parameter of a block that the schema, or a block before, declares too.
const fn made_twice(
    text: Message,
    schema: &Schema,
    entries: &[Entry],
    entry: usize,
    number: usize,
) -> Message {
    let Entry::Block(include) = &entries[entry] else { return text };
    let mut p = 0;
    while p < schema.parameters.len() {
        let other = &schema.parameters[p];
        // Of two blocks the later one says it.
        let counts = p < number && other.entry.0 != include.entry
            || other.entry.0 > include.entry && is_own(entries, other.entry.0);
        if counts && matches!(fit(&schema.parameters[number].pattern, &other.pattern), Fit::Whole) {
            let text = text.paragraph().text("the parameter `").pattern(&other.pattern);
            return text
                .text("` is declared twice")
                .text(LINE)
                .text("the other one is at ")
                .place(other.at);
        }
        p += 1;
    }
    text
}

//! What the compiler checks of a schema with blocks: each fits where it is included.

use super::fit::{Fit, fit};
use super::message::Message;
use super::report::LINE;
use crate::key::{JoinError, MAX_FLAGS, Pattern, same};
use crate::schema::{Declared, Depends, Entry, Schema, count};

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
        text = outside(text, schema, entries, place, block.outer.axes[a]);
        a += 1;
    }
    let mut d = 0;
    while d < schema.depends.len() {
        let Depends { name, axis, is_flag } = schema.depends[d];
        if is_flag && has(block.outer.flags, name) && !has(block.outer.axes, axis) {
            text = outside(text, schema, entries, place, axis);
        }
        d += 1;
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
    if let (Some(one), Some(other)) = (&schema.experts, &block.experts)
        && !same(one.axis, other.axis)
    {
        text = text.paragraph().text("a model has one axis of experts, and this has `");
        text = text.text(one.axis).text("` and `").text(other.axis).text("` of the block");
    }
    if schema.flags.len() > MAX_FLAGS {
        text = text.paragraph().text("a schema has at most ").number(MAX_FLAGS);
        text = text.text(" flags, and with those of its blocks this has ");
        text = text.number(schema.flags.len());
    }
    text.raise();
}

/// An axis that a block depends on and that no name around it has.
const fn outside(
    text: Message,
    schema: &Schema,
    entries: &[Entry],
    entry: usize,
    axis: &str,
) -> Message {
    let Entry::Block(include) = &entries[entry] else { return text };
    if !has(schema.axes, axis) || captures(&include.prefix, axis) {
        return text;
    }
    let text = text.paragraph().text("the block `").text(include.schema.model);
    let text = text.text("` depends on `").text(axis).text("`, but no name around it has `{");
    let text = text.text(axis).text("}`").text(LINE);
    text.text("include it under a prefix with `{").text(axis).text("}`")
}

pub(super) const fn has(names: &[&str], name: &str) -> bool {
    let mut i = 0;
    while i < names.len() {
        if same(names[i], name) {
            return true;
        }
        i += 1;
    }
    false
}

pub(super) const fn captures(pattern: &Pattern<'_>, axis: &str) -> bool {
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

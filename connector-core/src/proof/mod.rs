//! What the compiler checks of an importer with a schema: every parameter is produced, under every
//! combination of the flags, by one row.
//!
//! The attribute writes a constant that calls [`prove`]; a mistake makes its evaluation panic, which
//! is a compile error with the text of [`Message`]. Everything here is a `const fn`, so loops are
//! written out and recursion is only as deep as blocks are nested.

mod fit;
mod message;
mod rows;

pub use message::Message;

use crate::key::{Pattern, Truth, distance, similar};
use crate::mapping::{Mapping, Row, Rule};
use crate::schema::{Parameter, Schema};
use fit::{Fit, fit};
use rows::{UnknownFlag, producers, unknown_flag};

/// Proves `mapping` against `schema`; of a model without one, only that its keys can be formed.
///
/// # Panics
/// If a parameter is not produced under some combination of flags, or by two rows; if a row's
/// target is no parameter, or its condition names no flag; if `export` is asked for and a row has
/// no inverse. All mistakes are in one message.
#[track_caller]
pub const fn prove(importer: &str, schema: Option<Schema>, mapping: &Mapping, export: bool) {
    join_all(mapping.rows, &Pattern::EMPTY, &Pattern::EMPTY);
    let Some(schema) = schema else { return };
    let mut message = Message::EMPTY.text("importer `").text(importer);
    message = message.text("` does not fit its model `").text(schema.model).text("`:");
    let start = message.len();
    if let Some(UnknownFlag { flag, at }) = unknown_flag(mapping.rows, schema.flags) {
        message = message.text(ENTRY).text("a condition names `").text(flag);
        message = message.text("`, which is no flag of the model").at(at).text(LINE);
        message = flags(message, schema.flags);
        // Without its conditions nothing else about the mapping is known.
        panic!("{}", message.as_str());
    }
    message = strangers(message, &schema, mapping, mapping.rows, &Pattern::EMPTY);
    message = missing(message, &schema, mapping);
    message = doubled(message, &schema, mapping);
    if export {
        message = one_way(message, mapping.rows);
    }
    if message.len() > start {
        panic!("{}", message.as_str());
    }
}

/// Forms every whole key, so that a block and a row that capture the same name, or a key that is
/// too long, do not compile: [`Pattern::join`] panics.
#[track_caller]
const fn join_all(rows: &[Row], source: &Pattern<'static>, target: &Pattern<'static>) {
    let mut i = 0;
    while i < rows.len() {
        match &rows[i] {
            Row::Rule(rule) => join_rule(rule, source, target),
            Row::Rules(rules) => {
                let mut r = 0;
                while r < rules.len() {
                    join_rule(&rules[r], source, target);
                    r += 1;
                }
            }
            Row::Block(block) => {
                join_all(block.rows, &source.join(&block.source), &target.join(&block.target));
            }
            Row::Include(mapping) => join_all(mapping.rows, source, target),
            Row::OneOf(one_of) => {
                let mut b = 0;
                while b < one_of.branches.len() {
                    join_all(one_of.branches[b].rows, source, target);
                    b += 1;
                }
            }
            Row::Equal(equal) => {
                source.join(&equal.left);
                source.join(&equal.right);
            }
            Row::Ignore(ignore) => {
                source.join(&ignore.pattern);
            }
        }
        i += 1;
    }
}

#[track_caller]
const fn join_rule(rule: &Rule, source: &Pattern<'static>, target: &Pattern<'static>) {
    let mut i = 0;
    while i < rule.sources.len() {
        source.join(&rule.sources[i]);
        i += 1;
    }
    i = 0;
    while i < rule.reads.len() {
        source.join(&rule.reads[i]);
        i += 1;
    }
    i = 0;
    while i < rule.targets.len() {
        target.join(&rule.targets[i]);
        i += 1;
    }
}

const fn flags(mut message: Message, flags: &[&str]) -> Message {
    if flags.is_empty() {
        return message.text("it has none: declare `flag name = …;` in its `param_schema!`");
    }
    message = message.text("its flags: ");
    let mut i = 0;
    while i < flags.len() {
        message = if i == 0 { message } else { message.text(", ") };
        message = message.text(flags[i]);
        i += 1;
    }
    message
}

/// What a finding begins with, and what a line below it begins with.
const ENTRY: &str = "\n\n  ";
const LINE: &str = "\n      ";

/// Rows whose target is no parameter.
const fn strangers(
    mut message: Message,
    schema: &Schema,
    mapping: &Mapping,
    rows: &[Row],
    prefix: &Pattern<'static>,
) -> Message {
    let mut i = 0;
    while i < rows.len() {
        message = match &rows[i] {
            Row::Rule(rule) => stranger(message, schema, mapping, rule, prefix),
            Row::Rules(rules) => {
                let mut r = 0;
                while r < rules.len() {
                    message = stranger(message, schema, mapping, &rules[r], prefix);
                    r += 1;
                }
                message
            }
            Row::Block(block) => {
                let prefix = prefix.join(&block.target);
                strangers(message, schema, mapping, block.rows, &prefix)
            }
            Row::Include(included) => strangers(message, schema, mapping, included.rows, prefix),
            Row::OneOf(one_of) => {
                let mut b = 0;
                while b < one_of.branches.len() {
                    let rows = one_of.branches[b].rows;
                    message = strangers(message, schema, mapping, rows, prefix);
                    b += 1;
                }
                message
            }
            Row::Equal(_) | Row::Ignore(_) => message,
        };
        i += 1;
    }
    message
}

const fn stranger(
    mut message: Message,
    schema: &Schema,
    mapping: &Mapping,
    rule: &Rule,
    prefix: &Pattern<'static>,
) -> Message {
    let mut t = 0;
    while t < rule.targets.len() {
        let target = prefix.join(&rule.targets[t]);
        if !is_parameter(schema, &target) {
            message = message.text(ENTRY).pattern(&target).text(" is not a parameter").at(rule.at);
            if let Some(near) = nearest(schema, mapping, &target) {
                message = message.text(LINE).text("did you mean ").pattern(&near.pattern).text("?");
            }
        }
        t += 1;
    }
    message
}

const fn is_parameter(schema: &Schema, target: &Pattern<'static>) -> bool {
    let mut p = 0;
    while p < schema.parameters.len() {
        if !matches!(fit_parameter(target, &schema.parameters[p]), Fit::None) {
            return true;
        }
        p += 1;
    }
    false
}

/// How a target fits the best of a parameter's spellings.
const fn fit_parameter(target: &Pattern<'static>, parameter: &Parameter) -> Fit {
    let mut best = fit(target, &parameter.pattern);
    let mut a = 0;
    while a < parameter.aka.len() && !matches!(best, Fit::Whole) {
        match fit(target, &parameter.aka[a]) {
            Fit::None => {}
            other => best = other,
        }
        a += 1;
    }
    best
}

/// The parameter that a target may be a slip for; of equally near ones, one that no row makes.
const fn nearest<'s>(
    schema: &'s Schema,
    mapping: &Mapping,
    target: &Pattern<'static>,
) -> Option<&'s Parameter> {
    let written = Message::EMPTY.pattern(target);
    let mut best: Option<&Parameter> = None;
    let mut least = usize::MAX;
    let mut p = 0;
    while p < schema.parameters.len() {
        let parameter = &schema.parameters[p];
        let name = Message::EMPTY.pattern(&parameter.pattern);
        if similar(written.as_str(), name.as_str()) {
            let made = !producers(mapping.rows, parameter, schema).union().is_never();
            let far = 2 * distance(written.as_str(), name.as_str()) + made as usize;
            if far < least {
                least = far;
                best = Some(parameter);
            }
        }
        p += 1;
    }
    best
}

/// Parameters that no row makes under some combination of the flags.
const fn missing(mut message: Message, schema: &Schema, mapping: &Mapping) -> Message {
    let mut count = 0;
    let mut list = Message::EMPTY;
    let mut p = 0;
    while p < schema.parameters.len() {
        let parameter = &schema.parameters[p];
        let exists = condition(parameter, schema);
        let made = producers(mapping.rows, parameter, schema);
        let gap = exists.and(made.union().not());
        if !gap.is_never() && !is_meant(schema, mapping, mapping.rows, &Pattern::EMPTY, parameter) {
            list = list.text(LINE).pattern(&parameter.pattern);
            // One combination of flags under which it exists and is not made.
            if !Truth::ALWAYS.implies(gap) {
                list = list.text(" where ").flags(gap, schema.flags);
            }
            if let Some(at) = made.differing {
                list = list.text(": not every branch of this `one_of` makes it").at(at);
            }
            count += 1;
        }
        p += 1;
    }
    if count > 0 {
        message = message.text(ENTRY).count(count, "parameter");
        message = message.text(if count == 1 { " is" } else { " are" }).text(" never produced:");
        message = message.text(list.as_str()).text(LINE).text(
            "add rows to the mapping, or, if a parameter can be absent, give it a flag in the schema",
        );
    }
    message
}

/// Whether a row whose target is no parameter was meant to make this one: its own message says so.
const fn is_meant(
    schema: &Schema,
    mapping: &Mapping,
    rows: &[Row],
    prefix: &Pattern<'static>,
    parameter: &Parameter,
) -> bool {
    let mut i = 0;
    while i < rows.len() {
        let found = match &rows[i] {
            Row::Rule(rule) => rule_is_meant(schema, mapping, rule, prefix, parameter),
            Row::Rules(rules) => {
                let mut r = 0;
                let mut found = false;
                while r < rules.len() {
                    found = found || rule_is_meant(schema, mapping, &rules[r], prefix, parameter);
                    r += 1;
                }
                found
            }
            Row::Block(block) => {
                is_meant(schema, mapping, block.rows, &prefix.join(&block.target), parameter)
            }
            Row::Include(included) => is_meant(schema, mapping, included.rows, prefix, parameter),
            Row::OneOf(one_of) => {
                let mut b = 0;
                let mut found = false;
                while b < one_of.branches.len() {
                    let rows = one_of.branches[b].rows;
                    found = found || is_meant(schema, mapping, rows, prefix, parameter);
                    b += 1;
                }
                found
            }
            Row::Equal(_) | Row::Ignore(_) => false,
        };
        if found {
            return true;
        }
        i += 1;
    }
    false
}

const fn rule_is_meant(
    schema: &Schema,
    mapping: &Mapping,
    rule: &Rule,
    prefix: &Pattern<'static>,
    parameter: &Parameter,
) -> bool {
    let mut t = 0;
    while t < rule.targets.len() {
        let target = prefix.join(&rule.targets[t]);
        if !is_parameter(schema, &target)
            && let Some(near) = nearest(schema, mapping, &target)
            && matches!(fit(&near.pattern, &parameter.pattern), Fit::Whole)
        {
            return true;
        }
        t += 1;
    }
    false
}

/// Parameters that two rows make under one combination of the flags.
const fn doubled(mut message: Message, schema: &Schema, mapping: &Mapping) -> Message {
    let mut p = 0;
    while p < schema.parameters.len() {
        let parameter = &schema.parameters[p];
        let exists = condition(parameter, schema);
        let made = producers(mapping.rows, parameter, schema);
        if let Some((first, second, both)) = made.conflict(exists) {
            message = message.text(ENTRY).pattern(&parameter.pattern).text(" is produced twice");
            if !exists.implies(both) {
                message = message.text(" where ").flags(both, schema.flags);
            }
            message = message.at(first).at(second);
            message = message.text(LINE).text("remove one row, or tell them apart with `when`");
        }
        p += 1;
    }
    message
}

/// When a parameter exists. The schema's macro has checked its flags.
const fn condition(parameter: &Parameter, schema: &Schema) -> Truth {
    match parameter.when.truth(schema.flags) {
        Ok(truth) => truth,
        Err(_) => Truth::ALWAYS,
    }
}

/// Rows that cannot be read backwards.
const fn one_way(mut message: Message, rows: &[Row]) -> Message {
    let mut i = 0;
    while i < rows.len() {
        message = match &rows[i] {
            Row::Rule(rule) => rule_one_way(message, rule),
            Row::Rules(rules) => {
                let mut r = 0;
                while r < rules.len() {
                    message = rule_one_way(message, &rules[r]);
                    r += 1;
                }
                message
            }
            Row::Block(block) => one_way(message, block.rows),
            Row::Include(mapping) => one_way(message, mapping.rows),
            // Export writes the first branch; the others are only ever read.
            Row::OneOf(one_of) if !one_of.branches.is_empty() => {
                one_way(message, one_of.branches[0].rows)
            }
            _ => message,
        };
        i += 1;
    }
    message
}

const fn rule_one_way(message: Message, rule: &Rule) -> Message {
    if rule.operation.inverse.is_some() {
        return message;
    }
    message
        .text(ENTRY)
        .text("`export` is asked for, but `")
        .text(rule.operation.name)
        .text("` has no inverse")
        .at(rule.at)
        .text(LINE)
        .text("add `inverse = …` to its `#[state_transform]`, or drop `export`")
}

//! Whether the keys of a rule capture what fits together.

use super::arguments::Arguments;
use crate::args::list;
use crate::captures::{
    Captured, Place, agree, all, captured, disagreement, extra, is_name, without,
};
use crate::errors::Errors;
use crate::fold::{Fold, Written};
use crate::pattern::{Key, marked, place_of};
use crate::signature::{Function, Returned, returned};

/// Which axis the rule folds; a mistake if its two sides do not fit.
pub fn fold(
    arguments: &Arguments,
    function: &Function,
    sources: &[Key],
    targets: &[Key],
    errors: &Errors,
) -> Option<Fold> {
    let (from, to) = (all(sources), all(targets));
    let refuse = || {
        errors.add(disagreement(Place::Attribute, sources, targets));
        None
    };
    if let Some(group) = &function.group {
        return match (&arguments.fold, from.split_last()) {
            (None, Some((last, others))) => match extra(std::slice::from_ref(last), &to) {
                Some(axis) if agree(others, &to) => Some(Fold::Gather(axis)),
                _ => {
                    let key = sources.last()?;
                    errors.at(key.span(), no_axis_for_group(key, &to));
                    None
                }
            },
            _ => {
                let message = "a function with a group takes the tensors along its axis one by \
                               one: remove `stack`, or take a `Tensor`";
                errors.on(&group.ty, message);
                None
            }
        };
    }
    match &arguments.fold {
        Some(Written::Stack(axis)) => {
            let name = axis.to_string();
            if !from.iter().all(|names| names.contains(&name)) {
                errors.at(axis.span(), absent(&name, "source", "stack", &from));
                return None;
            }
            match agree(&without(&from, &name), &to) {
                true => Some(Fold::Stack(name)),
                false => refuse(),
            }
        }
        Some(written @ (Written::Unstack(axis) | Written::Repeat(axis))) => {
            let name = axis.to_string();
            let (verb, fold): (_, fn(String) -> Fold) = match written {
                Written::Repeat(_) => ("repeat", Fold::Repeat),
                _ => ("unstack", Fold::Unstack),
            };
            if !to.iter().all(|names| names.contains(&name)) {
                errors.at(axis.span(), absent(&name, "target", verb, &to));
                return None;
            }
            match agree(&from, &without(&to, &name)) {
                true => Some(fold(name)),
                false => refuse(),
            }
        }
        None if agree(&from, &to) => match returned(&function.output) {
            Returned::Spread => {
                let key = targets.last()?.text();
                let message = format!(
                    "`Vec<Tensor>` is one tensor for each index of an axis that only the target \
                     key has, but `{key}` has none\n\
                     add one, as in `{key}.{{e}}`, or return `Tensor` for one target, a tuple or \
                     an array for several"
                );
                errors.on(&function.output, message);
                None
            }
            _ => Some(Fold::None),
        },
        None => match (extra(&to, &from), returned(&function.output)) {
            (Some(axis), Returned::Spread | Returned::Unknown) if targets.len() == 1 => {
                Some(Fold::Spread(axis))
            }
            _ => refuse(),
        },
    }
}

/// A group's key without an axis of its own.
fn no_axis_for_group(key: &Key, to: &[Captured]) -> String {
    let text = key.text();
    let stars = captured(key).iter().chain(to.iter().flatten()).any(|capture| !is_name(capture));
    let advice = match stars {
        true => {
            format!("name the captures of all keys, as in `{{layer}}`, and add one to `{text}`")
        }
        false => format!("add one, as in `{text}.{{e}}`, or take a `Tensor`"),
    };
    format!(
        "the last parameter takes a group: its key captures what the target does and one axis \
         more, and `{text}` does not\n{advice}"
    )
}

/// An axis to fold that not every key of its side has.
fn absent(axis: &str, side: &str, verb: &str, keys: &[Captured]) -> String {
    if keys.iter().any(|names| names.iter().any(|name| name == axis)) {
        return format!("some {side} keys have no `{{{axis}}}`: to {verb} along it, all need it");
    }
    let mut names: Vec<String> = Vec::new();
    for name in keys.iter().flatten().filter(|name| is_name(name)) {
        let shown = format!("{{{name}}}");
        if !names.contains(&shown) {
            names.push(shown);
        }
    }
    match names.is_empty() {
        true => format!(
            "no {side} key captures `{{{axis}}}`\nwrite it where the axis is that you {verb}"
        ),
        false => format!(
            "no {side} key captures `{{{axis}}}`\nthey capture {}: name the one that you {verb}",
            list(&names)
        ),
    }
}

/// Refuses a key in `reads` with a capture that is not the same value on both sides of the rule.
pub fn known_captures(reads: &[Key], sources: &[Key], targets: &[Key], errors: &Errors) {
    let sides = [all(sources), all(targets)];
    // Stars bind by position, from the first.
    let stars = |names: &Captured, star: &str| names.iter().filter(|name| *name == star).count();
    for read in reads {
        let own = captured(read);
        let unknown = |capture: &&String| {
            sides.iter().any(|side| match is_name(capture) {
                true => !side.iter().flatten().any(|name| name == *capture),
                false => !side.iter().any(|key| stars(key, capture) >= stars(&own, capture)),
            })
        };
        if let Some(capture) = own.iter().find(unknown) {
            let text = read.text();
            let (shown, place) = match is_name(capture) {
                true => (format!("{{{capture}}}"), place_of(text, capture)),
                false => (capture.clone(), 0..0),
            };
            let message = format!(
                "`{shown}` is not on both sides of this rule, so it is unknown which tensor is \
                 read{}\na key in `reads` captures what sources and targets both do, or nothing",
                marked(text, place)
            );
            errors.at(read.span(), message);
        }
    }
}

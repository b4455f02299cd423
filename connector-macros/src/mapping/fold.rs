use super::parse::{BlockRow, Entry, RuleRow};
use crate::captures::{Captured, Place, agree, all, disagreement, extra, is_name, without};
use crate::fold::{Fold, Written};
use crate::pattern::{Key, KeySpan};
use proc_macro2::Ident;
use std::slice::from_ref;

/// What the blocks around a row capture.
#[derive(Clone, Default)]
pub struct FoldScope {
    sources: Captured,
    targets: Captured,
    /// An axis that the heads of only one side have. Every row inside folds it, or has it on the
    /// other side itself.
    open: Option<Open>,
}

#[derive(Clone)]
enum Open {
    Sources(String),
    Targets(String),
}

impl FoldScope {
    /// Goes into a block; an error if its heads do not fit and no row inside makes it good.
    pub fn enter(&mut self, block: &BlockRow, source: &[Key], target: &[Key]) -> syn::Result<()> {
        let (mut from, to) = (all(source).concat(), all(target).concat());
        if let Some(axis) = &block.repeat {
            absent(from_ref(&from), &self.sources, axis, "the source has", "repeat")?;
            if !to.contains(&axis.to_string()) {
                let message = format!(
                    "there is no `{{{axis}}}` in the head of the target: the rows stand at each index \
                     of an axis there"
                );
                return Err(syn::Error::new(axis.span(), message));
            }
            // To the rows inside both heads have it.
            add(&mut from, vec![axis.to_string()]);
        }
        let fit = agree(from_ref(&from), from_ref(&to));
        add(&mut self.sources, from);
        add(&mut self.targets, to);
        if fit && self.open.is_none() {
            return Ok(());
        }
        let (from, to) = (from_ref(&self.sources), from_ref(&self.targets));
        if agree(from, to) {
            self.open = None;
            return Ok(());
        }
        let open = extra(from, to).map(Open::Sources);
        let open = open.or_else(|| extra(to, from).map(Open::Targets));
        self.open = open.filter(|open| block.rows.iter().any(|row| may_close(row, open)));
        match self.open {
            Some(_) => Ok(()),
            None => Err(disagreement(Place::Block, source, target)),
        }
    }

    /// Which axis a row folds; an error if its two sides do not fit.
    pub fn fold(&self, row: &RuleRow, sources: &[Key], targets: &[Key]) -> syn::Result<Fold> {
        let (mut from, mut to) = (all(sources), all(targets));
        if self.open.is_some() {
            from.iter_mut().for_each(|names| add(names, self.sources.clone()));
            to.iter_mut().for_each(|names| add(names, self.targets.clone()));
        }
        let fold = match &row.suffix.fold {
            Some(Written::Stack(axis)) => {
                absent(&to, &self.targets, axis, "the target has", "stack")?;
                from = folded(&from, axis, "source")?;
                agree(&from, &to).then(|| Fold::Stack(axis.to_string()))
            }
            Some(Written::Unstack(axis)) => {
                absent(&from, &self.sources, axis, "the source has", "unstack")?;
                to = folded(&to, axis, "target")?;
                agree(&from, &to).then(|| Fold::Unstack(axis.to_string()))
            }
            Some(Written::Repeat(axis)) => {
                absent(&from, &self.sources, axis, "the source has", "repeat")?;
                to = folded(&to, axis, "target")?;
                agree(&from, &to).then(|| Fold::Repeat(axis.to_string()))
            }
            None if agree(&from, &to) => Some(Fold::None),
            // A function that takes a group or returns a `Vec` folds without a word in the row.
            // Whether this is one, the compiler checks: it knows the operation.
            None if !row.suffix.via.is_empty() => by_function(&from, &to),
            None => None,
        };
        fold.ok_or_else(|| {
            let message = match &self.open {
                None => return disagreement(Place::Row, sources, targets),
                Some(Open::Sources(axis)) => unclosed(axis, "source", &format!("`stack {axis}`")),
                Some(Open::Targets(axis)) => {
                    unclosed(axis, "target", &format!("`unstack {axis}` or `repeat {axis}`"))
                }
            };
            syn::Error::new_spanned(KeySpan(sources, targets), message)
        })
    }
}

fn unclosed(axis: &str, side: &str, say: &str) -> String {
    format!(
        "the block around this row captures `{{{axis}}}` in its {side} only: say {say} here, or move the row to another block"
    )
}

fn add(names: &mut Captured, more: Captured) {
    names.extend(more);
    if names.iter().any(|name| is_name(name)) {
        names.sort();
    }
}

/// Whether the row can fold the axis or has it on the other side. What it includes may, which is
/// not seen here.
fn may_close(row: &Entry, open: &Open) -> bool {
    match row {
        Entry::Rule(RuleRow { sources, targets, suffix, .. }) => {
            let (axis, other) = match open {
                Open::Sources(axis) => (axis, targets),
                Open::Targets(axis) => (axis, sources),
            };
            let here = format!("{{{axis}}}");
            !suffix.via.is_empty()
                || other.iter().any(|literal| literal.value().contains(&here))
                || match (&suffix.fold, open) {
                    (Some(Written::Stack(name)), Open::Sources(axis)) => name == axis,
                    (Some(Written::Unstack(name) | Written::Repeat(name)), Open::Targets(axis)) => {
                        name == axis
                    }
                    _ => false,
                }
        }
        Entry::Cfg(_, entry) => may_close(entry, open),
        Entry::Block(block) => block.rows.iter().any(|row| may_close(row, open)),
        Entry::OneOf(_, branches) => {
            branches.iter().any(|branch| branch.rows.iter().any(|row| may_close(row, open)))
        }
        Entry::Include(_) => true,
        Entry::Rules(_) | Entry::Equal { .. } | Entry::Ignore { .. } => false,
    }
}

/// Refuses to fold an axis that the side where it should vanish has.
fn absent(
    side: &[Captured],
    around: &Captured,
    axis: &Ident,
    has: &str,
    verb: &str,
) -> syn::Result<()> {
    let name = axis.to_string();
    match around.contains(&name) || side.iter().any(|names| names.contains(&name)) {
        false => Ok(()),
        true => {
            let message = format!("{has} `{{{axis}}}` too, so there is nothing to {verb}");
            Err(syn::Error::new(axis.span(), message))
        }
    }
}

/// One side of a row without the axis that is folded. If no key has it, a block around the row
/// may, or one around the mapping that includes it.
fn folded(side: &[Captured], axis: &Ident, what: &str) -> syn::Result<Vec<Captured>> {
    let name = axis.to_string();
    let with = side.iter().filter(|names| names.contains(&name)).count();
    if with != 0 && with != side.len() {
        let message = format!("some {what} keys of this row have `{{{axis}}}` and some have not");
        return Err(syn::Error::new(axis.span(), message));
    }
    Ok(without(side, &name))
}

fn by_function(from: &[Captured], to: &[Captured]) -> Option<Fold> {
    let (last, others) = from.split_last()?;
    let gather = || agree(others, to).then(|| extra(from_ref(last), to)).flatten();
    gather().map(Fold::Gather).or_else(|| extra(to, from).map(Fold::Spread))
}

//! Which tensor comes from which: the rows of a mapping, as data.
//!
//! [`mapping!`](macro@crate::mapping) writes them, [`state_transform`](crate::state_transform) adds
//! single rows beside functions. The compiler reads the same data as the plan.

mod flat;

pub use flat::{BranchId, FlatEqual, FlatIgnore, FlatMapping, FlatRule, Together};

use crate::Location;
use crate::key::{Condition, Pattern, Role};
use crate::transform::Operation;

/// Which way a conversion goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the format to the model.
    #[default]
    Import,
    /// From the model to the format.
    Export,
}

/// The rows that convert one model between two checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The rows, in the order in which they are written.
    pub rows: &'static [Row],
}

/// One entry of a mapping.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Row {
    /// `SRC => DST [via op] …`
    Rule(Rule),
    /// `"prefix" => "prefix" { … }`
    Block(Block),
    /// `..CONST`
    Include(Include),
    /// The rows of a keyed state transform, by its name.
    Rules(Rules),
    /// `one_of { name { … } … }`
    OneOf(OneOf),
    /// `a == b`, `copy a == b`
    Equal(Equal),
    /// `ignore "…"`
    Ignore(Ignore),
}

/// Source tensors that become target tensors through an operation.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The source keys, in the order of the first operation's arguments.
    pub sources: &'static [Pattern<'static>],
    /// The target keys, in the order of the last operation's results.
    pub targets: &'static [Pattern<'static>],
    /// What happens to the numbers: operations, one after the other.
    pub operations: &'static [Operation],
    /// Whether an axis in the keys of one side becomes part of the tensors of the other.
    pub fold: Fold,
    /// When the rule applies, beside its targets' own conditions.
    pub when: Condition,
    /// Whether the sources may be absent; then the targets are not produced.
    pub optional: bool,
    /// Other source tensors that the function may ask its context for.
    pub reads: &'static [Pattern<'static>],
    /// What its targets and then its sources are, as words say behind `as`; empty without any.
    pub said: &'static [Role<'static>],
    /// Where the rule is written.
    pub at: Location,
}

impl Rule {
    /// The last operation that has no inverse.
    pub(crate) const fn one_way(&self) -> Option<&'static Operation> {
        let mut i = self.operations.len();
        while i > 0 {
            i -= 1;
            if self.operations[i].inverse.is_none() {
                return Some(&self.operations[i]);
            }
        }
        None
    }
}

/// An axis that only one side of a rule has in its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fold {
    /// Both sides have the same axes.
    None,
    /// `stack axis`: the tensors along the axis become one, with the axis as first dimension.
    Stack(&'static str),
    /// `unstack axis`: the first dimension becomes the axis.
    Unstack(&'static str),
    /// The function takes all tensors along the axis as its last argument, `&[Tensor]`.
    Gather(&'static str),
    /// The function returns all tensors along the axis, `Vec<Tensor>`.
    Spread(&'static str),
    /// `repeat axis`: what the keys without the axis make stands at each index of those with it. The
    /// way back asks that all of these are the same.
    Repeat(&'static str),
}

impl Fold {
    /// The same axis seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Fold::None => Fold::None,
            Fold::Stack(axis) => Fold::Unstack(axis),
            Fold::Unstack(axis) => Fold::Stack(axis),
            Fold::Gather(axis) => Fold::Spread(axis),
            Fold::Spread(axis) => Fold::Gather(axis),
            Fold::Repeat(axis) => Fold::Repeat(axis),
        }
    }
}

/// The rows of another mapping.
#[derive(Clone, Copy, Debug)]
pub struct Include {
    /// The mapping.
    pub mapping: Mapping,
    /// Where it is included.
    pub at: Location,
}

/// The rows of a keyed state transform.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The rows.
    pub rules: &'static [Rule],
    /// Where the transform is named.
    pub at: Location,
}

/// Rows under a common prefix.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The prefix of the source keys; may be empty.
    pub source: Pattern<'static>,
    /// The prefix of the target keys; may be empty.
    pub target: Pattern<'static>,
    /// When the rows apply.
    pub when: Condition,
    /// Whether the sources of all rows together may be absent, for each index of the heads.
    pub optional: bool,
    /// An axis of the target's head at each index of which the rows stand: `repeat axis`.
    pub repeat: Option<&'static str>,
    /// The rows.
    pub rows: &'static [Row],
    /// Where the block is written.
    pub at: Location,
}

/// Several ways in which a source may hold the same parameters; its keys tell which.
#[derive(Clone, Copy, Debug)]
pub struct OneOf {
    /// The ways. The first one is written on export.
    pub branches: &'static [Branch],
    /// Where the choice is written.
    pub at: Location,
}

/// One way of a [`OneOf`].
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    /// Its name, for messages.
    pub name: &'static str,
    /// Its rows.
    pub rows: &'static [Row],
}

/// A source tensor that adds nothing: if it is there, it must be the same bytes as another, whose key may
/// capture less.
#[derive(Clone, Copy, Debug)]
pub struct Equal {
    /// The tensor that may be there.
    pub left: Pattern<'static>,
    /// The tensor whose bytes it must have.
    pub right: Pattern<'static>,
    /// Whether export writes it.
    pub copy: bool,
    /// When the row applies.
    pub when: Condition,
    /// Where the row is written.
    pub at: Location,
}

/// Source tensors that are left behind on purpose, and reported.
#[derive(Clone, Copy, Debug)]
pub struct Ignore {
    /// Their keys.
    pub pattern: Pattern<'static>,
    /// When the row applies.
    pub when: Condition,
    /// Where the row is written.
    pub at: Location,
}

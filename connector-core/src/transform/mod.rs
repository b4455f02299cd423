//! What happens to the numbers: operations on tensors.
//!
//! An [`Operation`] is either built in ([`ops`]), and then a list of moves of elements that runs
//! on bytes, or a user's function on tensors. Both have a place in mappings, `via`, and both may
//! name an inverse, which export needs.

mod chain;
mod compute;
mod context;
mod function;
mod moves;
pub mod ops;
mod signature;

pub(crate) use chain::compose;
pub use compute::{Compute, Kind};
#[cfg(feature = "candle")]
pub(crate) use context::ReadTensor;
pub use context::{Config, Numbers, TransformCtx};
pub use function::{Function, SPREAD, Tensor, TransformArg, TransformContext, TransformOutput};
pub(crate) use moves::gaps;
pub use moves::{LayOut, Move, Moves, Repeat, Shape};
pub use signature::Signature;

use crate::mapping::Rule;

/// An error of a user's function, of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How tensors become other tensors.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The name in messages: that of the built-in operation or of the user's function.
    pub name: &'static str,
    /// What can be lost.
    pub class: Class,
    /// How many tensors it takes; of a function with a group, how many before the group.
    pub sources: usize,
    /// How many tensors it gives; [`SPREAD`] if it decides itself.
    pub targets: usize,
    /// What the tensors are that it takes and gives.
    pub signature: Signature,
    /// How it is done.
    pub kernel: Kernel,
    /// The operation that brings the sources back.
    pub inverse: Option<fn() -> Operation>,
    /// Whether it is applied to each group of as many tensors as it takes: `via op each`.
    pub each: bool,
}

impl Operation {
    /// The same, applied to each group of tensors.
    #[must_use]
    pub const fn each(self) -> Self {
        Operation { each: true, ..self }
    }

    /// Its inverse, applied as often.
    pub(crate) fn back(&self) -> Option<Self> {
        Some(Operation { each: self.each, ..self.inverse?() })
    }

    /// How often it is applied to so many tensors.
    pub(crate) const fn groups(&self, given: usize) -> usize {
        let whole =
            self.each && self.sources > 0 && given > 0 && given.is_multiple_of(self.sources);
        if whole { given / self.sources } else { 1 }
    }

    /// What it takes and gives all in all where it is given so many tensors.
    pub(crate) const fn over(self, given: usize) -> Self {
        let groups = self.groups(given);
        let targets = if self.targets == SPREAD { SPREAD } else { groups * self.targets };
        Operation { sources: groups * self.sources, targets, ..self }
    }

    /// Whether it takes a group of tensors.
    pub(crate) const fn takes_group(&self) -> bool {
        matches!(self.kernel, Kernel::Function(Function { group: true, .. }))
    }
}

/// What an operation can lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Every element of the sources lands exactly once.
    Bijective,
    /// Elements are repeated, dropped or filled in.
    Copy,
    /// Numbers change.
    Lossy,
}

/// How an operation is done.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Kernel {
    /// By moving elements.
    Moves(&'static dyn LayOut),
    /// By computing on whole tensors in memory.
    Compute(&'static dyn Compute),
    /// By a function on tensors.
    Function(Function),
}

/// A type that stands for an operation: a row applies it with `via`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an operation",
    label = "not an operation",
    note = "write `#[state_transform]` before the function, or name one of `connector_core::ops`"
)]
pub trait Transform {
    /// The operation.
    const OPERATION: Operation;
}

/// A function annotated with `#[state_transform(source_key = …, target_key = …)]`: a type of the
/// function's name carries its rules.
#[diagnostic::on_unimplemented(
    message = "`{Self}` states no keys",
    label = "not a row of its own",
    note = "a row of its own needs `#[state_transform(source_key = …, target_key = …)]`; an operation without keys is applied with `via`, several one after the other with `via (first, second)`"
)]
pub trait StateTransform: Transform {
    /// One rule, or one for each text of the choices in its keys.
    const RULES: &'static [Rule];
}

/// Lists keyed state transforms, as NeMo's `transforms=[…]`.
///
/// ```
/// # #[cfg(feature = "candle")] {
/// use connector_core::{Tensor, state_transform, transforms};
///
/// #[state_transform(source_key = ("a.{i}", "b.{i}"), target_key = "ab.{i}")]
/// fn join(a: Tensor, b: Tensor) -> candle_core::Result<Tensor> {
///     Tensor::cat(&[a, b], 0)
/// }
///
/// let rules = transforms![join];
/// assert_eq!(rules[0][0].targets[0].to_string(), "ab.{i}");
/// # }
/// ```
#[macro_export]
macro_rules! transforms {
    ($($name:path),* $(,)?) => {
        [$(<$name as $crate::transform::StateTransform>::RULES),*]
    };
}

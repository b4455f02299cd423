//! Not public API. Used by generated code, under a name that carries the version, so that the
//! macros of one version cannot be used with the core of another.

pub use crate::Location;
pub use crate::Result as ConnectorResult;
pub use crate::config::{
    Absent, ConfigFields, ConfigMap, Field, FieldRow, Row as ConfigRow, Scalar, check_carried,
    check_config, check_field, check_only,
};
pub use crate::connector::{Connect, Direction, Erased, ModelConnector, Registration};
pub use crate::key::{Below, Condition, Pattern, Role, Term};
pub use crate::mapping::{
    Block, Branch, Equal, Fold, Ignore, Include, Mapping, OneOf, Row, Rule, Rules,
};
pub use crate::proof::{Flags, Flat, Proof, check_include, count, flatten};
pub use crate::schema::{
    Configured, Declared, Depends, Entry, Exclusive, Experts, Included, Instance, Model,
    ModelConfig, Outer, ParamSchema, Parameter, Schema, Sizes, Vocabulary, count as count_names,
    depends_of, exclusive, experts_of, list, names_of, sizes, spellings, terms, vocabulary_of,
};
pub use crate::store::Dtype;
pub use crate::transform::{
    BoxError, Class, Function, Kernel, Operation, SPREAD, Signature, StateTransform, Tensor,
    Transform, TransformArg, TransformContext, TransformCtx, TransformOutput, ops,
};
pub use inventory;
pub use serde_json::Value;
pub use std::boxed::Box;
pub use std::marker::PhantomData;
pub use std::vec::Vec;

use crate::proof::{LINE, Message};
use std::format;

/// The parameters of `M`, which follow the model's config or the format's.
pub fn source_instance<M: Model, C: ModelConfig>(
    config: &C,
    format: &Value,
) -> ConnectorResult<Option<Box<dyn Instance>>> {
    if let Some(config) = (config as &dyn std::any::Any).downcast_ref::<M::Config>() {
        return Ok(M::instance(config));
    }
    let config = serde_json::from_value(format.clone());
    let reason = |error: serde_json::Error| format!("the format's: {error}");
    let config = config.map_err(|e| crate::Error::ModelConfig { reason: reason(e) })?;
    Ok(M::instance(&config))
}

/// The tensors of a call as the function's arguments.
pub fn arguments<const N: usize>(
    name: &str,
    tensors: Vec<Tensor>,
) -> Result<[Tensor; N], BoxError> {
    let given = tensors.len();
    tensors
        .try_into()
        .map_err(|_| format!("`{name}` takes {N} tensors and was given {given}").into())
}

/// The tensors of a call as the function's arguments and its group.
pub fn arguments_and_group<const N: usize>(
    name: &str,
    mut tensors: Vec<Tensor>,
) -> Result<([Tensor; N], Vec<Tensor>), BoxError> {
    let group = tensors.split_off(tensors.len().min(N));
    Ok((arguments(name, tensors)?, group))
}

/// The fingerprint of a function: FNV-1a of its text, which the macro has computed, continued
/// over the version of its crate.
pub const fn fingerprint(text: u64, version: Option<&str>) -> u64 {
    let bytes = match version {
        Some(version) => version.as_bytes(),
        None => &[],
    };
    let (mut hash, mut i) = (text, 0);
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// Refuses operations that do not fit each other, or the keys of their row: their number, or the axis
/// that only one side has.
#[track_caller]
pub const fn check_row(operations: &[Operation], sources: usize, targets: usize, fold: Fold) {
    let [first, ..] = operations else { return };
    let operation = &first.over(sources);
    let (mut last, mut i) = (*operation, 0);
    while i < operations.len() {
        check_each(&operations[i], if i > 0 { last.targets } else { sources });
        if i > 0 {
            let next = operations[i].over(last.targets);
            check_next(&last, &next);
            last = next;
        }
        check_not_keyed(&operations[i]);
        i += 1;
    }
    let last = &last;
    let group = operation.takes_group();
    let spread = last.targets == SPREAD;
    let name = Message::EMPTY.text("`").text(operation.name).text("` ");
    let last_name = Message::EMPTY.text("`").text(last.name).text("` ");
    let which = if sources == 1 { "source key" } else { "last source key" };
    let message =
        if operation.sources + group as usize != sources || last.targets != targets && !spread {
            let name = name.text("takes ").takes(operation).text(" and ");
            let name = match operations.len() {
                1 => name,
                _ => name.text(last_name.as_str()),
            };
            name.text("gives ")
                .gives(last)
                .text(", but this row has ")
                .count(sources, "source key")
                .text(" and ")
                .count(targets, "target key")
        } else {
            match fold {
            Fold::Gather(axis) if !group => name
                .text("takes no group of tensors, but the ")
                .text(which)
                .text(" captures `{")
                .text(axis)
                .text("}` and the target does not")
                .text(LINE)
                .text("add `stack ")
                .text(axis)
                .text("` if the tensors along `{")
                .text(axis)
                .text("}` become one, or use an operation whose last parameter is `&[Tensor]`"),
            Fold::Spread(axis) if !spread => last_name
                .text("returns no `Vec<Tensor>`, but the target key captures `{")
                .text(axis)
                .text("}` and the source does not")
                .text(LINE)
                .text("add `unstack ")
                .text(axis)
                .text("` if one tensor becomes those along `{")
                .text(axis)
                .text("}`, or use an operation that returns `Vec<Tensor>`"),
            Fold::None | Fold::Stack(_) | Fold::Unstack(_) | Fold::Repeat(_) if group => name
                .text("takes a group of tensors, but the ")
                .text(which)
                .text(" captures no axis that the target does not")
                .text(LINE)
                .text("add one, as in `\"a.{e}\" => \"b\"`, or use an operation on single tensors"),
            _ => return,
        }
        };
    panic!("{}", message.as_str());
}

/// Refuses an operation that does not take what the one before it gives.
#[track_caller]
const fn check_next(before: &Operation, next: &Operation) {
    if takes_all(next, before) {
        return;
    }
    let message = Message::EMPTY
        .text("`")
        .text(before.name)
        .text("` gives ")
        .gives(before)
        .text(", but `")
        .text(next.name)
        .text("`, which comes next, takes ")
        .takes(next)
        .text(LINE)
        .text("each operation of a `via` takes what the one before it gives");
    panic!("{}", message.as_str());
}

/// Refuses `each` of an operation that decides itself how many tensors it takes or gives, or where the
/// tensors are no whole groups.
#[track_caller]
const fn check_each(operation: &Operation, given: usize) {
    if !operation.each {
        return;
    }
    let text = Message::EMPTY.text("`").text(operation.name).text(" each` ");
    let message = if operation.takes_group() || operation.targets == SPREAD {
        text.text("does not say how many groups there are: `")
            .text(operation.name)
            .text("` takes ")
            .takes(operation)
            .text(" and gives ")
            .gives(operation)
            .text(LINE)
            .text("leave out `each`, or use an operation on single tensors")
    } else if !given.is_multiple_of(operation.sources) {
        text.text("takes groups of ")
            .count(operation.sources, "tensor")
            .text(", but is given ")
            .number(given)
    } else {
        return;
    };
    panic!("{}", message.as_str());
}

/// Refuses an operation that is a row of its own.
#[track_caller]
const fn check_not_keyed(operation: &Operation) {
    if let Kernel::Function(Function { keyed: true, .. }) = operation.kernel {
        let message = Message::EMPTY
            .text("`")
            .text(operation.name)
            .text("` has keys of its own, which `via` would ignore")
            .text(LINE)
            .text("list it by name as a row, `")
            .text(operation.name)
            .text(",`, or take the keys out of its `#[state_transform]`");
        panic!("{}", message.as_str());
    }
}

/// Whether an operation takes what another one gives, all of it.
const fn takes_all(operation: &Operation, before: &Operation) -> bool {
    if before.targets == SPREAD {
        operation.takes_group() && operation.sources == 0
    } else {
        !operation.takes_group() && operation.sources == before.targets
    }
}

/// Refuses an inverse that does not take what the operation gives, or give what it takes.
#[track_caller]
pub const fn check_inverse(operation: &Operation, inverse: &Operation) {
    let back = takes_all(inverse, operation);
    let forth = if operation.takes_group() {
        inverse.targets == SPREAD && operation.sources == 0
    } else {
        inverse.targets == operation.sources
    };
    if !(back && forth) {
        let message = Message::EMPTY
            .text("`")
            .text(inverse.name)
            .text("` cannot be the inverse of `")
            .text(operation.name)
            .text("`")
            .text(LINE)
            .text("`")
            .text(operation.name)
            .text("` takes ")
            .takes(operation)
            .text(" and gives ")
            .gives(operation)
            .text(", `")
            .text(inverse.name)
            .text("` takes ")
            .takes(inverse)
            .text(" and gives ")
            .gives(inverse)
            .text(LINE)
            .text("an inverse takes what the operation gives and gives what it takes");
        panic!("{}", message.as_str());
    }
}

/// The parameters of a declared model under `config`.
pub fn instance<M: ParamSchema>(config: &M::Config) -> Box<dyn Instance> {
    Box::new(Configured::<M>(config.clone()))
}

/// Whether a field of a config, a `bool` or an `Option<bool>`, says so.
pub fn is_true<T: From<bool> + PartialEq>(field: &T) -> bool {
    *field == T::from(true)
}

/// The indices `at` of the axes of `S` as the block `B` numbers its axes.
pub fn within<S: ParamSchema, B: ParamSchema>(at: &[usize]) -> Vec<usize> {
    fn axes<S: ParamSchema>() -> impl Iterator<Item = &'static &'static str> {
        S::PARAMETERS.axes.iter().chain(S::PARAMETERS.outer.axes)
    }
    let index = |axis| axes::<S>().position(|other| other == axis).and_then(|n| at.get(n));
    axes::<B>().map(|axis| index(axis).copied().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_of_tensors_is_an_error() {
        let error = arguments::<2>("merge", Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "`merge` takes 2 tensors and was given 0");
        assert!(arguments_and_group::<1>("merge", Vec::new()).is_err());
        assert!(arguments_and_group::<0>("merge", Vec::new()).is_ok());
    }

    #[test]
    fn the_version_is_part_of_a_fingerprint() {
        assert_ne!(fingerprint(1, Some("0.1.0")), fingerprint(1, Some("0.1.1")));
        assert_ne!(fingerprint(1, Some("0.1.0")), fingerprint(2, Some("0.1.0")));
    }
}

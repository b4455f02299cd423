//! The built-in operations. Each file holds one kind: its shapes and moves, its form on candle
//! tensors, its inverse and its class.
//!
//! In a mapping they follow `via`: `("q", "k", "v") => "qkv" via ops::merge_qkv`.
//!
//! With the feature `candle`, a function of the same name does the same on tensors, for use
//! inside functions of your own. It takes the context first if the operation asks the config,
//! then the tensors, then what a schema would say (how many rows); it returns a tensor or an
//! array of tensors, in candle's `Result`.
//!
//! ```
//! # #[cfg(feature = "candle")] {
//! use connector_core::{Tensor, TransformCtx, ops, state_transform};
//!
//! /// Query weights that the checkpoint stores halved.
//! #[state_transform(
//!     source_key = ("layers.{i}.q", "layers.{i}.k", "layers.{i}.v"),
//!     target_key = "decoder.layers.{i}.self_attention.linear_qkv.weight",
//! )]
//! fn merge_halved(
//!     ctx: &TransformCtx,
//!     q: Tensor,
//!     k: Tensor,
//!     v: Tensor,
//! ) -> candle_core::Result<Tensor> {
//!     ops::merge_qkv(ctx, &(q * 2.0)?, &k, &v)
//! }
//! # }
//! ```

/// Declares the type that stands for an operation by moves: what it takes and gives, in words for
/// roles, or how many tensors and what it does to roles.
macro_rules! operation {
    (
        $(#[$attribute:meta])*
        $name:ident: $class:ident, [$($takes:literal),+] => [$($gives:literal),+],
        back by $inverse:ident
    ) => {
        operation! {
            $(#[$attribute])*
            $name: $class, [$($takes),+].len() => [$($gives),+].len(), Makes {
                takes: &[$($crate::key::Role::new($takes)),+],
                gives: &[$($crate::key::Role::new($gives)),+],
            }, back by $inverse
        }
    };
    (
        $(#[$attribute:meta])*
        $name:ident: $class:ident, $sources:expr => $targets:expr,
        $signature:ident $({ $($roles:tt)* })?, back by $inverse:ident
    ) => {
        $(#[$attribute])*
        #[allow(non_camel_case_types, reason = "named as a mapping writes it")]
        #[derive(Debug)]
        pub struct $name {}

        #[diagnostic::do_not_recommend]
        impl $crate::transform::Transform for $name {
            const OPERATION: $crate::transform::Operation = $crate::transform::Operation {
                name: stringify!($name),
                class: $crate::transform::Class::$class,
                sources: $sources,
                targets: $targets,
                signature: $crate::transform::Signature::$signature $({ $($roles)* })?,
                kernel: $crate::transform::Kernel::Moves(&$name {}),
                inverse: Some(|| <$inverse as $crate::transform::Transform>::OPERATION),
                each: false,
            };
        }
    };
}

mod concat;
mod copy;
mod dequantise;
mod dims;
mod matrix;
mod one;
mod qkv;
mod rows;
#[cfg(test)]
mod test_support;
mod vocab;

pub use concat::{concat2, concat3, concat4, merge_fc1, split_fc1, split2, split3, split4};
pub use copy::{duplicate2, duplicate3, rename, same2, same3};
pub use dequantise::{dequantise_fp8, dequantise_mxfp4};
pub use matrix::transpose;
pub use one::{squeeze, unsqueeze};
pub use qkv::{merge_qkv, merge_qkv_concat, split_qkv, split_qkv_concat};
pub use rows::{deinterleave_rows, interleave_rows, pad_rows, prune_rows};
pub use vocab::{pad_vocab, prune_vocab};

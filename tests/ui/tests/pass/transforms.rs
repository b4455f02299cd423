#![deny(warnings, clippy::all)]

use connector_core::transform::{StateTransform, TransformCtx};
use connector_core::{Tensor, state_transform};

mod inner {
    pub(super) use super::merge_qk;
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

// With a context, by position.
#[state_transform(
    source_key = ("model.layers.*.q.{p:weight|bias}", "model.layers.*.k.{p}"),
    target_key = "decoder.layers.*.qk.{p}",
    inverse = split_qk,
    when = tied && !(moe || qkv_bias),
    optional,
    reads = ("model.scale", "model.shift"),
)]
pub(crate) fn merge_qk(ctx: &TransformCtx<'_>, q: Tensor, _k: Tensor) -> Result<Tensor> {
    ctx.number("heads").ok_or("no heads")?;
    let _ = (ctx.read("model.scale")?, ctx.read("model.shift")?);
    Ok(q)
}

// An operation without keys, its inverse elsewhere.
#[state_transform(inverse = inner::merge_qk)]
pub(crate) fn split_qk(qk: Tensor) -> Result<(Tensor, Tensor)> {
    Ok((qk.clone(), qk))
}

// By name, several targets, an array.
#[state_transform(source_key(k = "k", q = "q"), target_key = ("a", "b"))]
fn by_name(mut q: Tensor, k: Tensor) -> [Tensor; 2] {
    q = q.clone();
    [q, k]
}

// A group, after a tensor of its own.
#[state_transform(source_key = ("scale.{l}", "experts.{l}.{e}"), target_key = "experts.{l}")]
fn gather(scale: Tensor, _experts: &[Tensor]) -> Tensor {
    scale
}

// An axis from one tensor.
#[state_transform(source_key = "experts.{l}", target_key = "experts.{l}.{e}")]
fn spread(experts: Tensor) -> std::result::Result<Vec<Tensor>, std::fmt::Error> {
    Ok(vec![experts])
}

#[state_transform(source_key = "e.{e}", target_key = "e", stack = e)]
fn stacked(e: Tensor) -> Tensor {
    e
}

#[state_transform(source_key = "e", target_key = "e.{e}", unstack = e)]
fn unstacked(e: Tensor) -> Tensor {
    e
}

// A name that generated code uses itself, and a raw one.
#[state_transform(source_key = "t", target_key = "u")]
fn tensors(r#type: Tensor) -> Tensor {
    r#type
}

// Comes and goes with its function.
#[state_transform(source_key = "t", target_key = "u")]
#[cfg(any())]
fn absent(a: Nothing) -> Nothing {
    a
}

fn rules<T: StateTransform>() -> usize {
    T::RULES.len()
}

fn main() {
    // Inside a function too.
    #[state_transform(source_key = "a", target_key = "b")]
    fn inner(a: Tensor) -> Tensor {
        a
    }
    let all = connector_core::transforms![merge_qk, by_name, gather, spread, stacked, unstacked];
    assert_eq!(all.iter().map(|rules| rules.len()).sum::<usize>(), 7);
    assert_eq!(rules::<tensors>() + rules::<inner>(), 2);
    let _: fn(Tensor) -> Result<(Tensor, Tensor)> = split_qk;
    let _: (fn(Tensor) -> Tensor, fn(Tensor) -> Tensor) = (tensors, inner);
    let _ = (merge_qk, by_name, gather, spread, stacked, unstacked);
}

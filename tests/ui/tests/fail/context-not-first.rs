use connector_core::transform::TransformCtx;
use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
fn f(a: Tensor, _ctx: &TransformCtx<'_>) -> Tensor {
    a
}

fn main() {}

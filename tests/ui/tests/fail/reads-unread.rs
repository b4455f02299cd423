//! The function reads nothing of what it says that it reads.

use connector_core::{Tensor, TransformCtx, state_transform};

#[state_transform(source_key = "w", target_key = "w", reads = ("scale", "shift"))]
fn scaled(ctx: &TransformCtx, w: Tensor) -> Tensor {
    let _ = ctx.number("heads");
    w
}

fn main() {}

use connector_core::{Tensor, TransformCtx, state_transform};

#[state_transform(source_key = "a.{layer}", target_key = "b.{layer}", reads = "scale.{l}")]
fn f(ctx: &TransformCtx, a: Tensor) -> Tensor {
    let _ = ctx.read("scale.0");
    a
}

fn main() {}

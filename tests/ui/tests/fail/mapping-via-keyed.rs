use connector_core::mapping::Mapping;
use connector_core::{Tensor, TransformCtx, mapping, state_transform};

#[state_transform(source_key = "a", target_key = "b", reads = "scale")]
fn scaled(ctx: &TransformCtx, a: Tensor) -> Tensor {
    let _ = ctx.read("scale");
    a
}

const _: Mapping = mapping! {
    "c" => "d" via scaled,
};

fn main() {}

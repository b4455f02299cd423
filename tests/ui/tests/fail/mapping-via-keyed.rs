use connector_core::mapping::Mapping;
use connector_core::{Tensor, mapping, state_transform};

#[state_transform(source_key = "a", target_key = "b", reads = "scale")]
fn scaled(a: Tensor) -> Tensor {
    a
}

const _: Mapping = mapping! {
    "c" => "d" via scaled,
};

fn main() {}

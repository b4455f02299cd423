use connector_core::mapping::Mapping;
use connector_core::{Tensor, mapping, state_transform};

#[state_transform]
fn negate(a: Tensor) -> Tensor {
    a
}

const _: Mapping = mapping! { negate };

fn main() {}

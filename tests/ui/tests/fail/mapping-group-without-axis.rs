use connector_core::mapping::Mapping;
use connector_core::{Tensor, mapping, state_transform};

#[state_transform]
fn first(all: &[Tensor]) -> Tensor {
    all[0].clone()
}

const _: Mapping = mapping! {
    "a.{layer}" => "b.{layer}" via first,
};

fn main() {}

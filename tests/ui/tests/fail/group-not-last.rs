use connector_core::{Tensor, state_transform};

#[state_transform(source_key = ("a.{e}", "b"), target_key = "c")]
fn f(_all: &[Tensor], b: Tensor) -> Tensor {
    b
}

fn main() {}

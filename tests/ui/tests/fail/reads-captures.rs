use connector_core::{Tensor, state_transform};

#[state_transform(source_key = "a.{layer}", target_key = "b.{layer}", reads = "scale.{l}")]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

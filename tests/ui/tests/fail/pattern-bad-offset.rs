use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a.{-1 + layer}",
    target_key = "b.{layer}",
)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

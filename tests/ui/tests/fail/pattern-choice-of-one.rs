use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a.{p:weight}",
    target_key = "b.{p}",
)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

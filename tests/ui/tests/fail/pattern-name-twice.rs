use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a.{x}.{x}",
    target_key = "b.{x}",
)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a.{x}{y}",
    target_key = "b.{x}.{y}",
)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

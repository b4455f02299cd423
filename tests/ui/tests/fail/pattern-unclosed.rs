use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a.{layer",
    target_key = "c",
)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

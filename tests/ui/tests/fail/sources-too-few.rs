use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
fn f(a: Tensor, _b: Tensor) -> Tensor {
    a
}

fn main() {}

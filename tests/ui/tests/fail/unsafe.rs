use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
unsafe fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

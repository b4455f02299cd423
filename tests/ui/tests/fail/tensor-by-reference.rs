use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
fn f(a: &Tensor) -> Tensor {
    a.clone()
}

fn main() {}

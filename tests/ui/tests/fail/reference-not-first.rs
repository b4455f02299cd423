use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
fn f(a: Tensor, _name: &str) -> Tensor {
    a
}

fn main() {}

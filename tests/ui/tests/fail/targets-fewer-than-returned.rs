use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
fn f(a: Tensor) -> [Tensor; 2] {
    [a.clone(), a]
}

fn main() {}

use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a.{l}",
    target_key = "b.{l}",
)]
fn f(a: Tensor) -> Vec<Tensor> {
    vec![a]
}

fn main() {}

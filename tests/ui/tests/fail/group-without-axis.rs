use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a.{l}",
    target_key = "b.{l}",
)]
fn f(all: &[Tensor]) -> Tensor {
    all[0].clone()
}

fn main() {}

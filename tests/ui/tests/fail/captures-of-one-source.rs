use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = ("a.{layer}", "shared"),
    target_key = "b.{layer}",
)]
fn f(a: Tensor, _b: Tensor) -> Tensor {
    a
}

fn main() {}

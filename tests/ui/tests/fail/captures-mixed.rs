use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "model.layers.*.w",
    target_key = "decoder.layers.{layer}.w",
)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

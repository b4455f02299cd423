use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
fn f(_a: Vec<f32>) -> Tensor {
    loop {}
}

fn main() {}

use connector_core::{Tensor, state_transform};

#[state_transform(source_key(a = "a"), target_key = "c")]
fn f(a: Tensor, b: Tensor) -> Tensor {
    let _ = b;
    a
}

fn main() {}

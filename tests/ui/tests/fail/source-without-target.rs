use connector_core::{Tensor, state_transform};

#[state_transform(source_key = "a")]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

use connector_core::{Tensor, state_transform};

#[state_transform(source_key = ["a", "b"], target_key = "c")]
fn f(a: Tensor, _b: Tensor) -> Tensor {
    a
}

fn main() {}

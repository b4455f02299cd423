use connector_core::{Tensor, state_transform};

#[state_transform(source_key(a = "a", gat = "b"), target_key = "c")]
fn f(a: Tensor, gate: Tensor) -> Tensor {
    let _ = gate;
    a
}

fn main() {}

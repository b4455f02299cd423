use connector_core::{Tensor, state_transform};

#[state_transform(when = tied)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

use connector_core::{Tensor, state_transform};

#[state_transform(inverse = split)]
fn join(a: Tensor, _b: Tensor, _c: Tensor) -> Tensor {
    a
}

#[state_transform]
fn split(a: Tensor) -> (Tensor, Tensor) {
    (a.clone(), a)
}

fn main() {}

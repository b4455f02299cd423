use connector_core::{Tensor, state_transform};

struct Undo;

#[state_transform(inverse = Undo)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

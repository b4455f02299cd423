// The message is rustc's: it reads the body before the macro does. One mistake, one error.
use connector_core::{Tensor, state_transform};

#[state_transform(source_key = "a", target_key = "b")]
fn f(a: Tensor) -> Tensor {
    a.
}

#[state_transform(source_key = "c", target_key = "d")]
fn g(a: Tensor) -> Tensor {
    f(a)
}

fn main() {}

use connector_core::{Tensor, state_transform};

#[state_transform(source_key = "a.{l}.{e}", target_key = "b.{l}", stack = expert)]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

use connector_core::{Tensor, state_transform};

#[state_transform(source_key = ("a.{l}", "a.{l}"), target_key = "c.{l}")]
fn f(a: Tensor, _b: Tensor) -> Tensor {
    a
}

fn main() {}

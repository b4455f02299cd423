use connector_core::{Tensor, state_transform};

#[state_transform(source_key = "a.{l}", target_key = "b.{l}", when = moe(layer))]
fn f(a: Tensor) -> Tensor {
    a
}

fn main() {}

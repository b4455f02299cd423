use connector_core::{Tensor, state_transform};

type Pair = (Tensor, Tensor);

#[state_transform(source_key = "a", target_key = "b")]
fn f(a: Tensor) -> Pair {
    (a.clone(), a)
}

fn main() {}

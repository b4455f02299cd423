use connector_core::{Tensor, state_transform};

#[state_transform(
    source_key = "a",
    target_key = "b",
)]
fn f<T: Into<Tensor>>(a: T) -> Tensor {
    a.into()
}

fn main() {}

use connector_core::{Tensor, state_transform};

struct S;

impl S {
    #[state_transform(source_key = "a", target_key = "b")]
    fn f(&self, a: Tensor) -> Tensor {
        a
    }
}

fn main() {}

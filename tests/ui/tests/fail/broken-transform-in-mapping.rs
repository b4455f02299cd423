use connector_core::mapping::Mapping;
use connector_core::{Tensor, mapping, state_transform};

#[state_transform(source_key = "a", target_key = "b")]
async fn f(a: Tensor) -> Tensor {
    a
}

const _: Mapping = mapping! { f, ("c", "e") => "d" via f };

fn main() {}

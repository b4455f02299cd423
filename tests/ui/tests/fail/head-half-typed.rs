// The message is rustc's: it reads the head before the macro does, which adds nothing to it.
use connector_core::mapping::Mapping;
use connector_core::{Tensor, mapping, state_transform};

#[state_transform(source_key = "a", target_key = "b")]
fn f(a: ) -> Tensor {
    unimplemented!()
}

const _: Mapping = mapping! { f, "c" => "d" via f };

fn main() {}

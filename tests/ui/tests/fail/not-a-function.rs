use connector_core::state_transform;

#[state_transform(source_key = "a", target_key = "b")]
struct S;

fn main() {}

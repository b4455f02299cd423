// Without more the compiler would say that a type is wanted: connector-macros/src/operation.rs.
use connector_core::mapping;
use connector_core::mapping::Mapping;

fn widen() {}

const _: Mapping = mapping! {
    "a" => "b" via widen,
};

fn main() {}

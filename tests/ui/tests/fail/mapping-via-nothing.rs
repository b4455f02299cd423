use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "a" => "b" via (),
};

fn main() {}

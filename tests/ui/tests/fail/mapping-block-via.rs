use connector_core::mapping::Mapping;
use connector_core::mapping;

const _: Mapping = mapping! {
    "a" => "b" via transpose optional { "c" => "d" },
};

fn main() {}

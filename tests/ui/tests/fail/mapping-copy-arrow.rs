use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    copy "a" => "b",
};

fn main() {}

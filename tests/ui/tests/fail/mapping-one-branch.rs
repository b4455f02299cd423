use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    one_of {
        only { "a" => "b" }
    }
};

fn main() {}

use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    ("gate", "up") => "fc1",
};

fn main() {}

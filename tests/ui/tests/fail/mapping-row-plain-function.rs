use connector_core::mapping;
use connector_core::mapping::Mapping;

fn widen() {}

const _: Mapping = mapping! {
    widen,
};

fn main() {}

use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "a.{e}" => "b.{e}" stack e,
};

fn main() {}

use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "a.{e}" => "b.{e}" when e >= 0,
};

fn main() {}

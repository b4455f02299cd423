use connector_core::mapping;
use connector_core::mapping::Mapping;

struct Widen;

const _: Mapping = mapping! {
    "a.{p:weight|bias}" => "b.{p}" via Widen,
};

fn main() {}

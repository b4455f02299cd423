use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    #[inline]
    "a" => "b",
};

fn main() {}

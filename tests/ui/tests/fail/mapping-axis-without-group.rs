use connector_core::mapping::Mapping;
use connector_core::{mapping, ops};

const _: Mapping = mapping! {
    "a.{layer}.{e}" => "b.{layer}" via ops::rename,
};

fn main() {}

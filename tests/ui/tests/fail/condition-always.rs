use connector_core::{mapping, ops};
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "a.{e}" => "b.{e}" via ops::rename when e >= 0,
};

fn main() {}

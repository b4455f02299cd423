use connector_core::{mapping, ops};
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "a" => "b.{e}" via ops::rename repeat e unstack e,
};

fn main() {}

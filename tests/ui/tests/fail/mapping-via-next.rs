use connector_core::mapping::Mapping;
use connector_core::{mapping, ops};

const _: Mapping = mapping! {
    "a" => "b" via (ops::transpose, ops::merge_fc1),
};

fn main() {}

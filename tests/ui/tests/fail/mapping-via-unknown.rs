use connector_core::mapping::Mapping;
use connector_core::{mapping, ops};

const _: Mapping = mapping! {
    "a" => "b" via ops::renam,
    "c" => "d" via widen,
};

fn main() {}

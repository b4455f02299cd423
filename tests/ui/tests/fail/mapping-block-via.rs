use connector_core::mapping::Mapping;
use connector_core::{mapping, ops};

const _: Mapping = mapping! {
    "a" => "b" via ops::transpose optional { "c" => "d" },
};

fn main() {}

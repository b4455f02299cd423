use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    ("a.{l}", "a.{l}") => "b.{l}" via connector_core::ops::merge_fc1,
};

fn main() {}

use connector_core::{mapping, ops};
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    ("a", "b", "c") => "d" via (ops::merge_fc1 each, ops::concat2),
};

fn main() {}

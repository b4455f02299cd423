use connector_core::{mapping, ops};
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    ("a", "b") => "c" via ops::rename,
};

fn main() {}

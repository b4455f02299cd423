// Without parentheses the second is a row of its own.
use connector_core::mapping::Mapping;
use connector_core::{mapping, ops};

const _: Mapping = mapping! {
    "a" => "b" via ops::transpose, ops::interleave_rows,
};

fn main() {}

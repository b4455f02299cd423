use connector_core::mapping;
use connector_core::mapping::Mapping;

const ROWS: u32 = 1;

const _: Mapping = mapping! {
    ..ROWS,
};

fn main() {}

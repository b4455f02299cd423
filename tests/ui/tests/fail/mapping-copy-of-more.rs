use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    copy "a.{l}" == "b.{l}.{e}",
};

fn main() {}

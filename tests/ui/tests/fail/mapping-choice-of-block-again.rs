use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "{p:a|b}" => "{p}" {
        "x.{p:a|b}" => "y.{p}",
    }
};

fn main() {}

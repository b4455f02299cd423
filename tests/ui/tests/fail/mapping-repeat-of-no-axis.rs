use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "shared" => "layers.{layer}" repeat expert {
        "w" => "w",
    },
};

fn main() {}

use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "layers.{layer}.experts.{e}" => "decoder.layers.{layer}" {
        "w" => "w",
    }
};

fn main() {}

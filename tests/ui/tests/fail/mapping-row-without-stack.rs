use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "layers.{layer}.experts.{e}" => "decoder.layers.{layer}" {
        "w1" => "w1" stack e,
        "w2" => "w2",
    }
};

fn main() {}

use connector_core::mapping;
use connector_core::mapping::Mapping;

const _: Mapping = mapping! {
    "model.layers.*.experts.*.w1.weight" => "decoder.layers.*.mlp.experts.linear_fc1",
};

fn main() {}

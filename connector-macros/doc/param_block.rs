use connector_core::schema::ParamSchema;
use connector_core::{Mapping, mapping, ops, param_block, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    num_layers: usize,
    hidden: usize,
    ffn: usize,
    bias: bool,
}

param_block! {
    /// A gated MLP with its norm.
    pub GATED_MLP(c: Config) {
        flag bias = c.bias;
        "norm.weight": [c.hidden];
        "fc1.weight": [2 * c.ffn, c.hidden];
        "fc1.bias": [2 * c.ffn] if bias;
        "fc2.weight": [c.hidden, c.ffn];
    }
}

/// Its rows.
pub const GATED_MLP: Mapping = mapping! {
    "norm.weight" => "norm.weight",
    ("gate.{p:weight|bias}", "up.{p}") => "fc1.{p}" via ops::merge_fc1,
    "down.weight" => "fc2.weight",
};

param_schema! {
    /// A model of nothing else.
    pub SmallModel(c: Config) {
        axis layer = c.num_layers;
        flag last(layer) = layer + 1 == c.num_layers;
        "layers.{layer}.mlp" {
            ..GATED_MLP if !last;
        }
    }
}

fn main() {
    assert_eq!(SmallModel::PARAMETERS.flags, ["last", "bias"]);
    assert_eq!(SmallModel::PARAMETERS.parameters.len(), 4);
    let names = SmallModel::PARAMETERS.parameters.iter().map(|p| p.pattern.to_string());
    assert!(names.into_iter().all(|name| name.starts_with("layers.{layer}.mlp.")));
    assert!(!GATED_MLP.rows.is_empty());
}

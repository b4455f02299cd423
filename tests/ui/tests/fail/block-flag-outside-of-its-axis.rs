use connector_core::{param_block, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
}

param_block! { pub MLP(c: Config) {
    flag dense;
    "fc1": [c.hidden] if dense;
} }

param_schema! { pub MyModel(c: Config) {
    axis layer = c.layers;
    flag dense(layer) = layer > 0;
    "layers.{layer}.fc2": [c.hidden];
    ..MLP;
} }

fn main() {}

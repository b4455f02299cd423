use connector_core::{param_block, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_block! { pub MLP(c: Config) {
    "fc1": [c.hidden];
    "fc2": [c.hidden];
} }

param_schema! { pub MyModel(c: Config) {
    axis layer = c.layers;
    "layers.{layer}.fc2": [c.hidden];
    "layers.{layer}" {
        ..MLP;
    }
} }

fn main() {}

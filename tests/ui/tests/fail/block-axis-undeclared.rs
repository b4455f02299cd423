use connector_core::{param_block, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_block! { pub MLP(c: Config) {
    axis layer;
    "fc1": [c.hidden + layer];
} }

param_schema! { pub MyModel(c: Config) {
    axis depth = c.layers;
    "layers.{depth}" {
        ..MLP;
    }
} }

fn main() {}

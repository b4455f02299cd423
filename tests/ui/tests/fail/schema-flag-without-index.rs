use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_schema! { pub MyModel(c: Config) {
    axis layer = c.layers;
    flag moe = layer > 0;
    "layers.{layer}.w": [c.hidden] if moe;
} }

fn main() {}

use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_schema! { pub MyModel(c: Config) {
    flag tied = c.tied;
    axis layer = c.layers;
    "w.{layers:field}": [c.hidden];
} }

fn main() {}

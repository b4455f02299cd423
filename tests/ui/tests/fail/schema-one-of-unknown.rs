use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_schema! { pub MyModel(c: Config) {
    flag tied = c.tied;
    at most one of tied, tide;
    "w": [c.hidden] if tied;
} }

fn main() {}

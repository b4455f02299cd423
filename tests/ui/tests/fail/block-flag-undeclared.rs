use connector_core::{param_block, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_block! { pub HEAD(c: Config) {
    flag tied;
    "head": [c.hidden] if !tied;
} }

param_schema! { pub MyModel(c: Config) {
    "w": [c.hidden];
    ..HEAD;
} }

fn main() {}

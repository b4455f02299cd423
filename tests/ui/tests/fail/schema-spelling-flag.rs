use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    hidden: usize,
    tied: bool,
}

param_schema! { pub MyModel(c: Config) {
    flag tied = c.tied;
    "norm.weight": [c.hidden] aka "ln.weight" when tide;
} }

fn main() {}

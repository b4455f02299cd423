use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    experts: usize,
    hidden: usize,
}

param_schema! { pub MyModel(c: Config) {
    axis e: experts = c.experts;
    "mlp.experts.{e}.fc1.weight": [c.hidden];
} }

fn main() {}

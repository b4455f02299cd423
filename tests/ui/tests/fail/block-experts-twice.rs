use connector_core::{param_block, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    experts: usize,
    hidden: usize,
}

param_block! { pub EXPERTS(c: Config) {
    axis e: experts = c.experts;
    "experts.local_experts.{e}.fc1.weight": [c.hidden];
} }

param_schema! { pub MyModel(c: Config) {
    axis bird: experts = c.experts;
    "moe.experts.local_experts.{bird}.fc1.weight": [c.hidden];
    ..EXPERTS;
} }

fn main() {}

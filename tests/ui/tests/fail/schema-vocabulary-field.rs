use connector_core::param_schema;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    tokens: usize,
    hidden: usize,
}

param_schema! { pub MyModel(c: Config) {
    vocabulary tokens padded to round_to;
    "embedding": [c.tokens, c.hidden];
} }

fn main() {}

use connector_core::param_block;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_block! { pub HEAD(c: Config) {
    flag tied = c.tied;
    "head": [c.hidden] if !tide;
} }

fn main() {}

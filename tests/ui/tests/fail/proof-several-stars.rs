//! Nothing says which `*` is which index.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    experts: usize,
    tied: bool,
    moe: Vec<bool>,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        axis expert = c.experts;
        "layers.{layer}.experts.{expert}": [4];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "experts.*.h.*" => "layers.*.experts.*",
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

//! A parameter that always exists cannot be without its source.

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
        "fc.weight": [4];
        "fc.bias": [4];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "fc.weight" => "fc.weight",
        "fc.bias" => "fc.bias" optional,
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

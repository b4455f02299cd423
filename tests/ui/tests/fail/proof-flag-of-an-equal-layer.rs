//! What must be equal has no layer at which to ask for the flag.

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
        flag moe(layer) = c.moe[layer];
        "wte": [4];
        "layers.{layer}.router": [4] if moe;
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "h.{layer}.router" => "layers.{layer}.router",
        "wte" => "wte",
        "head" == "wte" when !moe,
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

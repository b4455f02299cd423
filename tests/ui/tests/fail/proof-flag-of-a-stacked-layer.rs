//! All layers become one tensor, and the row asks for a flag of each.

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
        "fc": [c.layers, 4];
        "layers.{layer}.router": [4] if moe;
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "h.{layer}.fc" => "fc" stack layer when moe,
        "h.{layer}.fc_dense" => "fc" stack layer when !moe,
        "h.{layer}.router" => "layers.{layer}.router",
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

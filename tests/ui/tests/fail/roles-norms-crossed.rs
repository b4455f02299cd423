//! Two vectors of one length, each in the place of the other.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        "l.{layer}.input_layernorm": [4];
        "l.{layer}.pre_mlp_layernorm": [4];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "m.{layer}.input_layernorm" => "l.{layer}.pre_mlp_layernorm",
        "m.{layer}.post_attention_layernorm" => "l.{layer}.input_layernorm",
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

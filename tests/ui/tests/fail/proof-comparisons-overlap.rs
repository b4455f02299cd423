use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    layers: usize,
    tied: bool,
    bias: bool,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        axis expert = c.layers;
        flag tied = c.tied;
        flag bias = c.bias;
        "embedding.weight": [1];
        "output.weight": [1] if !tied;
        "layers.{layer}" {
            "linear_fc1.weight": [1];
            "linear_fc1.bias": [1] if bias;
            "linear_fc2.weight": [1];
            "experts.weight{expert}": [1];
        }
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "wte" => "embedding.weight",
        "head" => "output.weight",
        "h.{layer}" => "layers.{layer}" {
            "fc1.{p:weight|bias}" => "linear_fc1.{p}",
            "experts.{expert}" => "experts.weight{expert}",
        },
        "h.{layer}.a" => "layers.{layer}.linear_fc2.weight" when layer <= 3,
        "h.{layer}.b" => "layers.{layer}.linear_fc2.weight" when layer >= 3,
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

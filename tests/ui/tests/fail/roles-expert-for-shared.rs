//! The expert that sees every token in the place of one that the router chooses.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        "l.{layer}.experts.linear_fc2.weight": [4, 4];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "m.{layer}.shared_expert.down_proj.weight" => "l.{layer}.experts.linear_fc2.weight",
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

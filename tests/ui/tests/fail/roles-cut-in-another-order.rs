//! What a tensor is cut into, in another order than it has.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        "l.{layer}.gate": [4, 4];
        "l.{layer}.up": [4, 4];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "m.{layer}.gate_up_proj" => ("l.{layer}.up", "l.{layer}.gate") via ops::split2,
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

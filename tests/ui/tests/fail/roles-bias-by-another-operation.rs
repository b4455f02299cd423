//! The rows of a bias lie otherwise than those of its weight.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        "l.{layer}.qkv.weight": [16, 4];
        "l.{layer}.qkv.bias": [16];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        ("m.{layer}.q.weight", "m.{layer}.k.weight", "m.{layer}.v.weight")
            => "l.{layer}.qkv.weight" via ops::merge_qkv,
        ("m.{layer}.q.bias", "m.{layer}.k.bias", "m.{layer}.v.bias")
            => "l.{layer}.qkv.bias" via ops::concat3,
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

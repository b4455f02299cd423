//! A weight with the scales of another.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        "l.{layer}.gate": [128, 128];
        "l.{layer}.up": [128, 128];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        ("m.{layer}.gate", "m.{layer}.up_scale_inv") => "l.{layer}.gate" via ops::dequantise_fp8,
        ("m.{layer}.up", "m.{layer}.gate_scale_inv") => "l.{layer}.up" via ops::dequantise_fp8,
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

//! Rows that nothing says to alternate.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
}

param_schema! {
    pub Finch(c: Config) {
        axis layer = c.layers;
        "l.{layer}.fc1": [8, 4];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        "m.{layer}.gate_up_proj" => "l.{layer}.fc1" via ops::deinterleave_rows,
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

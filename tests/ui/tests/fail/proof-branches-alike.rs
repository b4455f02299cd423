//! The keys of a checkpoint do not tell which branch is meant.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    experts: usize,
    tied: bool,
    moe: Vec<bool>,
}

param_schema! {
    pub Finch(c: Config) {
        "qkv": [12, 4];
    }
}

struct HfFinch;

#[model_importer(Finch, "hf")]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        one_of {
            by_group { "qkv" => "qkv" }
            one_after_another { "qkv" => "qkv" via ops::merge_qkv_concat }
        }
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {}

#![deny(warnings, clippy::all, unused_qualifications)]

/// A crate that re-exports the core.
mod facade {
    pub use connector_core as core;
}

use facade::core::checkpoint::HfCheckpoint;
use facade::core::connector::ModelConnector;
use facade::core::mapping::Mapping;
use facade::core::{Result, Tensor, mapping, model_importer, param_schema, state_transform};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    hidden: usize,
}

param_schema! {
    crate = facade::core;
    pub MyModel(c: Config) { "weight": [c.hidden]; }
}

#[state_transform(source_key = "w", target_key = "weight", crate = crate::facade::core)]
fn keep(w: Tensor) -> Tensor {
    w
}

struct HfMyModel;

#[model_importer(MyModel, "hf", crate = facade::core)]
impl ModelConnector for HfMyModel {
    const MAPPING: Mapping = mapping! { crate = facade::core, keep };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Ok(Config { hidden: 1 })
    }
}

fn main() {
    let _ = (keep, HfMyModel);
}

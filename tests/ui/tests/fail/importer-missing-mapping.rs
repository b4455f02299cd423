use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::ModelConnector;
use connector_core::{Result, model_importer, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_schema! { pub MyModel(c: Config) {
    "weight": [c.hidden];
} }

struct HfMyModel;

#[model_importer(MyModel, "hf")]
impl ModelConnector for HfMyModel {
    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(connector_core::Error::Cancelled)
    }
}

fn main() {}

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::ModelConnector;
use connector_core::mapping::Mapping;
use connector_core::{Result, mapping, model_importer, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

param_schema! { pub MyModel(c: Config) {
    "weight": [c.hidden];
} }

struct Hf<T>(T);

#[model_importer(MyModel, "hf")]
impl<T: Send + Sync + 'static> ModelConnector for Hf<T> {
    const MAPPING: Mapping = mapping! { "w" => "weight" };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(connector_core::Error::Cancelled)
    }
}

fn main() {}

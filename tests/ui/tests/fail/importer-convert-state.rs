use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{ModelConnector, State};
use connector_core::mapping::Mapping;
use connector_core::{Result, mapping, model_importer, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    hidden: usize,
}

param_schema! { pub MyModel(c: Config) {
    "weight": [c.hidden];
} }

struct HfMyModel;

#[model_importer(MyModel, "hf")]
impl ModelConnector for HfMyModel {
    const MAPPING: Mapping = mapping! { "w" => "weight" };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Ok(Config { hidden: 1 })
    }

    fn convert_state(state: &mut State<'_>) -> Result<()> {
        state.put_bytes("weight", &[0; 4])
    }
}

fn main() {}

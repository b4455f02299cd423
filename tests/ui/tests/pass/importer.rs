#![deny(warnings, clippy::all, unused_qualifications)]

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{ModelConnector, State};
use connector_core::mapping::Mapping;
use connector_core::{Result, mapping, model_exporter, model_importer, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    hidden: usize,
}

param_schema! { pub MyModel(c: Config) { "weight": [c.hidden]; } }

struct HfMyModel;

/// With everything; the model is filled in.
#[model_importer(MyModel, "hf", architectures = ["MyForCausalLM", "MyModel"], export, dynamic)]
impl ModelConnector for HfMyModel {
    const MAPPING: Mapping = mapping! { "w" => "weight" };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Ok(Config { hidden: 1 })
    }

    // Allowed with `dynamic`.
    fn convert_state(state: &mut State<'_>) -> Result<()> {
        state.convert()
    }
}

struct ToHfMyModel;

// The model may be written.
#[model_exporter(MyModel, "pytorch")]
impl ModelConnector for ToHfMyModel {
    type Model = MyModel;
    const MAPPING: Mapping = mapping! { "weight" => "w" };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Ok(Config { hidden: 1 })
    }
}

fn main() {}

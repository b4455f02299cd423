use connector_core::checkpoint::HfCheckpoint;
use connector_core::{
    Mapping, ModelConnector, Result, mapping, model_exporter, model_importer, param_schema,
};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    hidden: usize,
}

param_schema! { pub SmallModel(c: Config) { "weight": [c.hidden]; } }

struct HfSmall;

#[model_importer(SmallModel, "hf", architectures = ["SmallForCausalLM"])]
impl ModelConnector for HfSmall {
    const MAPPING: Mapping = mapping! { "model.weight" => "weight" };

    fn config(_source: &HfCheckpoint) -> Result<Config> {
        Ok(Config { hidden: 8 })
    }
}

struct ToHfSmall;

#[model_exporter(SmallModel, "hf")]
impl ModelConnector for ToHfSmall {
    const MAPPING: Mapping = mapping! { "weight" => "model.weight" };

    fn config(_source: &HfCheckpoint) -> Result<Config> {
        Ok(Config { hidden: 8 })
    }
}

fn main() {}

use connector_core::families::{HfLlama, LlamaModel};
use connector_core::{Mapping, ModelConnector, model_importer};

struct Mine;

#[model_importer(LlamaModel, "mine")]
impl ModelConnector for Mine {
    const MAPPING: Mapping = HfLlama::MAPPING;
}

fn main() {}

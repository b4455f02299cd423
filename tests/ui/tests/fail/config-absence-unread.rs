use connector_core::config::ConfigMap;
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::{self, GptConfig};
use connector_core::{Mapping, ModelConnector, config_map, model_importer};

struct Mine;

#[model_importer(LlamaModel, "mine")]
impl ModelConnector for Mine {
    const MAPPING: Mapping = HfLlama::MAPPING;

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        ..gpt::CORE,
        ..gpt::ROPE,
        "hidden_act" <=> activation_func = "silu",
        absent "sliding_windows" = 4096,
    }});
}

fn main() {}

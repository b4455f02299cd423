use connector_core::config::ConfigMap;
use connector_core::gpt::GptConfig;
use connector_core::config_map;

const _: ConfigMap = config_map! { GptConfig {
    only qk_layernorm = 3,
}};

fn main() {}

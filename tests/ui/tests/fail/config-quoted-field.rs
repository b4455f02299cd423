use connector_core::config::ConfigMap;
use connector_core::gpt::GptConfig;
use connector_core::config_map;

const _: ConfigMap = config_map! { GptConfig {
    "num_hidden_layers" <=> "num_layers",
}};

fn main() {}

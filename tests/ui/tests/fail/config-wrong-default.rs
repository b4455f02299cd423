use connector_core::config::ConfigMap;
use connector_core::gpt::GptConfig;
use connector_core::config_map;

const _: ConfigMap = config_map! { GptConfig {
    "rms_norm_eps" <=> layernorm_epsilon = "small",
}};

fn main() {}

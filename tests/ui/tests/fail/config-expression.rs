use connector_core::config::ConfigMap;
use connector_core::gpt::GptConfig;
use connector_core::config_map;

const _: ConfigMap = config_map! { GptConfig {
    "max_position_embeddings" <=> seq_length = 4096 * 32,
}};

fn main() {}

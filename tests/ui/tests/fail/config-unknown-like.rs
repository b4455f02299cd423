use connector_core::config::ConfigMap;
use connector_core::gpt::GptConfig;
use connector_core::config_map;

const _: ConfigMap = config_map! { GptConfig {
    "num_key_value_heads" <=> num_query_groups = like heads,
}};

fn main() {}

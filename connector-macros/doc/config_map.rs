use connector_core::config::{ConfigMap, NOT};
use connector_core::config_map;
use connector_core::gpt::{self, GptConfig};

const CONFIG: ConfigMap = config_map! { GptConfig {
    // Written, and refused if it is another.
    "model_type" = "qwen3_moe",
    // The rows of other maps.
    ..gpt::CORE,
    ..gpt::ROPE,
    // Both directions; absent, it is silu.
    "hidden_act" <=> activation_func = "silu" via gpt::SILU,
    // One field in two spellings, which has to be there.
    "num_experts" | "num_local_experts" <=> num_moe_experts,
    "norm_topk_prob" <=> moe_router_pre_softmax = false via NOT,
    // No field says so: every such model is.
    only qk_layernorm = true,
    // What the class means by absence, where the included row says something else.
    absent "num_key_value_heads" = 4,
    // Known with this value alone.
    neutral "mlp_only_layers" = [],
    // Without effect on what is computed.
    carry ["output_router_logits"],
}};

fn main() {
    assert_eq!(CONFIG.rows.len(), 10);
}

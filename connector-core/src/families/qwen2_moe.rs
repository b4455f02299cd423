//! Qwen1.5-MoE, Qwen2 with experts, and whatever else calls itself `Qwen2MoeForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, ops, param_schema};

param_schema! {
    /// Qwen2-MoE as a Megatron-core GPT model: attention as in Qwen2, and in most layers, or all, a
    /// router and experts, beside one that sees every token, through a gate.
    pub Qwen2MoeModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag qkv_bias = c.add_qkv_bias;
        flag experts(layer) = c.has_experts(layer);
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::QKV_BIASES if qkv_bias;
            ..gpt::GATED_MLP if !experts;
            ..gpt::EXPERTS if experts;
            ..gpt::SHARED_EXPERT if experts;
            "mlp.shared_experts.gate_weight": [1, c.hidden_size] if experts;
        }
    }
}

/// Qwen2-MoE from and to Hugging Face.
pub struct HfQwen2Moe;

#[model_importer(Qwen2MoeModel, "hf", architectures = ["Qwen2MoeForCausalLM"], export)]
impl ModelConnector for HfQwen2Moe {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QKV_BIASES,
            ..gpt::GATED_MLP,
            ..gpt::EXPERTS,
            "mlp.shared_expert_gate.weight" => "mlp.shared_experts.gate_weight",
            ("mlp.shared_expert.gate_proj.weight", "mlp.shared_expert.up_proj.weight")
                => "mlp.shared_experts.linear_fc1.weight" via ops::merge_fc1,
            "mlp.shared_expert.down_proj.weight" => "mlp.shared_experts.linear_fc2.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "qwen2_moe",
        ..gpt::CORE,
        absent "num_key_value_heads" = 16,
        absent "max_position_embeddings" = 32_768,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "qkv_bias" <=> add_qkv_bias = true,
        ..gpt::MIXTURE,
        absent "num_experts" = 60,
        absent "num_experts_per_tok" = 4,
        absent "moe_intermediate_size" = 1408,
        "shared_expert_intermediate_size" <=> moe_shared_expert_intermediate_size = 5632,
        only moe_shared_expert_gate = true,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC.bridge(&["Qwen2MoE"]));
}

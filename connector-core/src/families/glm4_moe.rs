//! GLM-4.5, 4.6 and 4.7 with experts, and whatever else calls itself `Glm4MoeForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// GLM-4.5 as a Megatron-core GPT model: heads that are rotated in part, and after some dense layers
    /// routers by a sigmoid, with a bias for the choice, and an expert that sees every token.
    pub Glm4MoeModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag qkv_bias = c.add_qkv_bias;
        flag qk_norm = c.qk_layernorm;
        flag experts(layer) = c.has_experts(layer);
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::QKV_BIASES if qkv_bias;
            ..gpt::QK_NORMS if qk_norm;
            ..gpt::GATED_MLP if !experts;
            ..gpt::EXPERTS if experts;
            ..gpt::SHARED_EXPERT if experts;
            "mlp.router.expert_bias": [c.experts()] if experts keep f32;
        }
    }
}

/// GLM-4.5 from and to Hugging Face.
pub struct HfGlm4Moe;

#[model_importer(Glm4MoeModel, "hf", architectures = ["Glm4MoeForCausalLM"], export)]
impl ModelConnector for HfGlm4Moe {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QKV_BIASES,
            ..gpt::QK_NORMS,
            ..gpt::GATED_MLP,
            ..gpt::EXPERTS,
            ..gpt::SHARED_EXPERT,
            "mlp.gate.e_score_correction_bias" => "mlp.router.expert_bias",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "glm4_moe",
        ..gpt::CORE,
        absent "num_key_value_heads" = 8,
        absent "max_position_embeddings" = 131_072,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> add_qkv_bias = false,
        "use_qk_norm" <=> qk_layernorm = false,
        ..gpt::PARTIAL_ROPE,
        absent "partial_rotary_factor" = 0.5,
        ..gpt::ROPE,
        "n_routed_experts" | "num_experts" | "num_local_experts" <=> num_moe_experts = 128,
        "num_experts_per_tok" <=> moe_router_topk = 8,
        "moe_intermediate_size" <=> moe_ffn_hidden_size = 1408,
        ..gpt::SHARED_EXPERTS,
        ..gpt::FIRST_DENSE,
        absent "first_k_dense_replace" = 1,
        ..gpt::EXPERT_GROUPS,
        "routed_scaling_factor" <=> moe_router_topk_scaling_factor = 1.0,
        // Megatron-core's router by sigmoids always scales them to a sum of 1.
        neutral "norm_topk_prob" = true,
        only moe_router_score_function = "sigmoid",
        only moe_router_enable_expert_bias = true,
        only moe_router_pre_softmax = false,
        only moe_router_load_balancing_type = "seq_aux_loss",
        only moe_aux_loss_coeff = 0.001,
        only moe_grouped_gemm = true,
        // What transformers saves says so without the layers that predict further tokens. Where they
        // are there, no row takes them, and they are refused.
        carry ["num_nextn_predict_layers", "output_router_logits"],
    }});

    const FRAMEWORKS: Option<Frameworks> =
        Some(Frameworks::GENERIC.bridge(&["GLM45", "GLM45Air355B"]));
}

//! GLM-4.5, 4.6 and 4.7 with experts, and whatever else calls itself `Glm4MoeForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::{BridgeNames, Frameworks, NemoNames};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, ops, param_schema};

param_schema! {
    /// GLM-4.5 as a Megatron-core GPT model: heads that are rotated in part, and after some dense layers
    /// routers by a sigmoid, with a bias for the choice, and an expert that sees every token.
    pub Glm4MoeModel(c: GptConfig) {
        axis layer = c.num_layers;
        axis e = c.experts();
        flag tied = c.share_embeddings_and_output_weights;
        flag qkv_bias = c.add_qkv_bias;
        flag qk_norm = c.qk_layernorm;
        flag experts(layer) = c.has_experts(layer);
        flag grouped = c.moe_grouped_gemm == Some(true);

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_qkv.bias": [c.qkv_rows()] if qkv_bias;
            "self_attention.q_layernorm.weight": [c.kv_channels] if qk_norm;
            "self_attention.k_layernorm.weight": [c.kv_channels] if qk_norm;
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size] if !experts;
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size] if !experts;
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size] if !experts;
            "pre_mlp_layernorm.weight": [c.hidden_size] if experts;
            "mlp.router.weight": [c.experts(), c.hidden_size] if experts;
            "mlp.router.expert_bias": [c.experts()] if experts keep f32;
            "mlp.experts.local_experts.{e}.linear_fc1.weight": [2 * c.expert_width(), c.hidden_size]
                if experts aka "mlp.experts.linear_fc1.weight{e}" when grouped;
            "mlp.experts.local_experts.{e}.linear_fc2.weight": [c.hidden_size, c.expert_width()]
                if experts aka "mlp.experts.linear_fc2.weight{e}" when grouped;
            "mlp.shared_experts.linear_fc1.weight": [2 * c.shared_width(), c.hidden_size]
                if experts;
            "mlp.shared_experts.linear_fc2.weight": [c.hidden_size, c.shared_width()] if experts;
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
            "mlp.gate.e_score_correction_bias" => "mlp.router.expert_bias",
            ("mlp.shared_experts.gate_proj.weight", "mlp.shared_experts.up_proj.weight")
                => "mlp.shared_experts.linear_fc1.weight" via ops::merge_fc1,
            "mlp.shared_experts.down_proj.weight" => "mlp.shared_experts.linear_fc2.weight",
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

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames::GPT,
        bridge: BridgeNames { provider: BridgeNames::GPT, classes: &["GLM45", "GLM45Air355B"] },
        implied: &[],
        own: &[],
    });
}

//! GPT-OSS in bf16, and whatever else calls itself `GptOssForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, ops, param_schema};

param_schema! {
    /// GPT-OSS as a Megatron-core GPT model: biases everywhere, sinks in attention, windows in every
    /// other layer, and experts that clamp.
    pub GptOssModel(c: GptConfig) {
        axis layer = c.num_layers;
        axis e: experts(moe_grouped_gemm) = c.experts();
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            "pre_mlp_layernorm.weight": [c.hidden_size];
            "mlp.router.weight": [c.experts(), c.hidden_size];
            "mlp.experts.local_experts.{e}.linear_fc1.weight": [2 * c.expert_width(), c.hidden_size];
            "mlp.experts.local_experts.{e}.linear_fc1.bias": [2 * c.expert_width()];
            "mlp.experts.local_experts.{e}.linear_fc2.weight": [c.hidden_size, c.expert_width()];
            "mlp.experts.local_experts.{e}.linear_fc2.bias": [c.hidden_size];
            "self_attention.core_attention.softmax_offset": [c.num_attention_heads];
            "mlp.router.bias": [c.experts()];
        }
    }
}

/// GPT-OSS from and to Hugging Face, as transformers saves it in bf16: experts transposed, gate and up
/// alternating. NeMo's `HFGPTOSSImporter`.
pub struct HfGptOss;

#[model_importer(GptOssModel, "hf", architectures = ["GptOssForCausalLM"], export)]
impl ModelConnector for HfGptOss {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            "self_attn.sinks" => "self_attention.core_attention.softmax_offset",
            "post_attention_layernorm.weight" => "pre_mlp_layernorm.weight",
            "mlp.router.{p:weight|bias}" => "mlp.router.{p}",
            "mlp.experts.gate_up_proj" as transposed interleaved => "mlp.experts.local_experts.{e}.linear_fc1.weight"
                via (ops::transpose, ops::deinterleave_rows) unstack e,
            "mlp.experts.gate_up_proj_bias" as interleaved => "mlp.experts.local_experts.{e}.linear_fc1.bias"
                via ops::deinterleave_rows unstack e,
            "mlp.experts.down_proj" as transposed => "mlp.experts.local_experts.{e}.linear_fc2.weight"
                via ops::transpose unstack e,
            "mlp.experts.down_proj_bias"
                => "mlp.experts.local_experts.{e}.linear_fc2.bias" unstack e,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "gpt_oss",
        ..gpt::SHARED,
        absent "num_key_value_heads" = 8,
        absent "head_dim" = 64,
        absent "max_position_embeddings" = 131_072,
        absent "rms_norm_eps" = 1e-5,
        "attention_bias" <=> attention_bias = true,
        only mlp_bias = true,
        only softmax_type = "learnable",
        // The class does not look at it, and takes the gate's SiLU of 1.702 times the gate.
        neutral "hidden_act" = "silu",
        only activation_func = "quick_gelu",
        neutral "swiglu_alpha" = 1.702,
        "swiglu_limit" <=> activation_func_clamp_value = 7.0,
        only glu_linear_offset = 1.0,
        "num_local_experts" | "num_experts" <=> num_moe_experts = 128,
        "num_experts_per_tok" | "experts_per_token" <=> moe_router_topk = 4,
        "intermediate_size" <=> moe_ffn_hidden_size,
        only ffn_hidden_size = like moe_ffn_hidden_size,
        only moe_router_pre_softmax = false,
        // As Megatron-Bridge has it: the class computes that loss only if it is asked for.
        only moe_router_load_balancing_type = "none",
        "router_aux_loss_coef" <=> moe_aux_loss_coeff = 0.9,
        only moe_grouped_gemm = true,
        ..gpt::ROPE_SAID,
        absent "rope_theta" = 150_000.0,
        // Without `layer_types`, the first of every two layers has a window.
        ..gpt::WINDOWS,
        absent "sliding_window" = 128,
        absent "sliding_window_pattern" = 2,
        carry ["initial_context_length", "output_router_logits"],
    }});

    // The frameworks' own classes have YaRN's numbers as constants, and not the same ones.
    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}

//! Qwen3 with experts, Qwen3-Coder, and whatever else calls itself `Qwen3MoeForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::{BridgeNames, Frameworks, NemoNames};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Qwen3-MoE as a Megatron-core GPT model: attention as in Qwen3, and in most layers, or all, a
    /// router and experts, each a gated MLP.
    pub Qwen3MoeModel(c: GptConfig) {
        axis layer = c.num_layers;
        axis e = c.experts();
        flag tied = c.share_embeddings_and_output_weights;
        flag attention_bias = c.attention_bias;
        flag experts(layer) = c.has_experts(layer);
        flag grouped = c.moe_grouped_gemm == Some(true);

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_qkv.bias": [c.qkv_rows()] if attention_bias;
            "self_attention.q_layernorm.weight": [c.kv_channels];
            "self_attention.k_layernorm.weight": [c.kv_channels];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "self_attention.linear_proj.bias": [c.hidden_size] if attention_bias;
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size] if !experts;
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size] if !experts;
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size] if !experts;
            "pre_mlp_layernorm.weight": [c.hidden_size] if experts;
            "mlp.router.weight": [c.experts(), c.hidden_size] if experts;
            "mlp.experts.local_experts.{e}.linear_fc1.weight": [2 * c.expert_width(), c.hidden_size]
                if experts aka "mlp.experts.linear_fc1.weight{e}" when grouped;
            "mlp.experts.local_experts.{e}.linear_fc2.weight": [c.hidden_size, c.expert_width()]
                if experts aka "mlp.experts.linear_fc2.weight{e}" when grouped;
        }
    }
}

/// Qwen3-MoE from and to Hugging Face. NeMo's `HFQwen3Importer`.
pub struct HfQwen3Moe;

#[model_importer(Qwen3MoeModel, "hf", architectures = ["Qwen3MoeForCausalLM"], export)]
impl ModelConnector for HfQwen3Moe {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::QK_NORMS,
            ..gpt::GATED_MLP,
            ..gpt::EXPERTS,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "qwen3_moe",
        ..gpt::CORE,
        absent "num_key_value_heads" = 4,
        absent "max_position_embeddings" = 32_768,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        only qk_layernorm = true,
        ..gpt::MIXTURE,
        absent "num_experts" = 128,
        absent "num_experts_per_tok" = 8,
        absent "moe_intermediate_size" = 768,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.qwen3",
            model: "Qwen3Model",
            config: "Qwen3MoEConfig",
            llama3_config: None,
            also: &[],
        },
        bridge: BridgeNames { provider: BridgeNames::GPT, classes: &["Qwen3MoE"] },
        implied: &[],
        own: &[],
    });
}

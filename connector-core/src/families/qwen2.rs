//! Qwen2, Qwen2.5, and whatever else calls itself `Qwen2ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::{BridgeNames, Frameworks, NemoNames};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Qwen2 as a Megatron-core GPT model: Llama, with biases on queries, keys and values.
    pub Qwen2Model(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_qkv.bias": [c.qkv_rows()];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

/// Qwen2 from and to Hugging Face. NeMo's `HFQwen2Importer`.
pub struct HfQwen2;

#[model_importer(Qwen2Model, "hf", architectures = ["Qwen2ForCausalLM"], export)]
impl ModelConnector for HfQwen2 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QKV_BIASES,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "qwen2",
        ..gpt::CORE,
        absent "num_key_value_heads" = 32,
        absent "max_position_embeddings" = 32_768,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        only add_qkv_bias = true,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.qwen2",
            model: "Qwen2Model",
            config: "Qwen2Config",
            llama3_config: None,
            also: &[],
        },
        bridge: BridgeNames { provider: BridgeNames::GPT, classes: &["Qwen2", "Qwen25"] },
        implied: &[],
        own: &[],
    });
}

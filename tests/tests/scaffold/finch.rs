//! Finch from Hugging Face: a draft that `connector scaffold` made from the names and shapes of 25
//! tensors.
//!
//! Names and shapes say where numbers go. Whether the model computes with them what Megatron
//! computes under these names, only its own code says.
//!
//! Nothing is left to decide. `connector plan` holds it against a checkpoint.

use connector_core::config::ConfigMap;
use connector_core::gpt::{self, GptConfig};
use connector_core::{Mapping, ModelConnector, config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Finch in Megatron-core's names.
    pub FinchModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "decoder.final_layernorm.weight": [c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "self_attention.q_layernorm.weight": [c.kv_channels];
            "self_attention.k_layernorm.weight": [c.kv_channels];
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

/// Finch from Hugging Face.
pub struct HfFinch;

#[model_importer(FinchModel, "hf", architectures = ["FinchForCausalLM"], export)]
impl ModelConnector for HfFinch {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QK_NORMS,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "finch",
        ..gpt::CORE,
        "hidden_act" <=> activation_func via gpt::SILU,
        only qk_layernorm = true,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
        // Off, or as usual: a file with another value is refused.
        neutral "attention_bias" = false,
        neutral "mlp_bias" = false,
    }});

    // If frameworks for training know the model, say what they call it: `const FRAMEWORKS:
    // Option<Frameworks> = …`.
}

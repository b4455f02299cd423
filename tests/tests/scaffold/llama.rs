//! MyLlama from Hugging Face: a draft that `connector scaffold` made from the names and shapes of
//! 21 tensors.
//!
//! Names and shapes say where numbers go. Whether the model computes with them what Megatron
//! computes under these names, only its own code says.
//!
//! Nothing is left to decide. `connector plan` holds it against a checkpoint.

use connector_core::config::ConfigMap;
use connector_core::families::HfLlama;
use connector_core::gpt::{self, GptConfig};
use connector_core::{Mapping, ModelConnector, mapping, model_importer, param_schema};

param_schema! {
    /// MyLlama in Megatron-core's names.
    pub MyLlamaModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "decoder.final_layernorm.weight": [c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

/// MyLlama from Hugging Face.
// connector_core::families::llama::HfLlama imports LlamaForCausalLM already: name the model,
// MyLlama, to choose this draft
pub struct HfMyLlama;

#[model_importer(MyLlamaModel, "hf", export)]
impl ModelConnector for HfMyLlama {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::GATED_MLP,
        },
    };

    // What this `model_type` says, this importer knows.
    const CONFIG: Option<ConfigMap> = HfLlama::CONFIG;

    // If frameworks for training know the model, say what they call it: `const FRAMEWORKS:
    // Option<Frameworks> = …`.
}

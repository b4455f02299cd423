//! Wren from Hugging Face: a draft that `connector scaffold` made from the names and shapes of 41
//! tensors.
//!
//! Names and shapes say where numbers go. Whether the model computes with them what Megatron
//! computes under these names, only its own code says.
//!
//! Nothing is left to decide. `connector plan` holds it against a checkpoint.

use connector_core::config::ConfigMap;
use connector_core::families::HfMixtral;
use connector_core::gpt::{self, GptConfig};
use connector_core::{Mapping, ModelConnector, mapping, model_importer, ops, param_schema};

param_schema! {
    /// Wren in Megatron-core's names.
    pub WrenModel(c: GptConfig) {
        axis layer = c.num_layers;
        axis expert: experts = c.experts();
        flag tied = c.share_embeddings_and_output_weights;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "decoder.final_layernorm.weight": [c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "pre_mlp_layernorm.weight": [c.hidden_size];
            "mlp.router.weight": [c.experts(), c.hidden_size];
            "mlp.experts.local_experts.{expert}.linear_fc1.weight":
                [2 * c.expert_width(), c.hidden_size];
            "mlp.experts.local_experts.{expert}.linear_fc2.weight":
                [c.hidden_size, c.expert_width()];
        }
    }
}

/// Wren from Hugging Face.
pub struct HfWren;

#[model_importer(WrenModel, "hf", architectures = ["WrenForCausalLM"], export)]
impl ModelConnector for HfWren {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            "post_attention_layernorm.weight" => "pre_mlp_layernorm.weight",
            "block_sparse_moe.gate.weight" => "mlp.router.weight",
            (
                "block_sparse_moe.experts.{expert}.w1.weight",
                "block_sparse_moe.experts.{expert}.w3.weight",
            ) => "mlp.experts.local_experts.{expert}.linear_fc1.weight" via ops::merge_fc1,
            "block_sparse_moe.experts.{expert}.w2.weight"
                => "mlp.experts.local_experts.{expert}.linear_fc2.weight",
        },
    };

    // What this `model_type` says, this importer knows.
    const CONFIG: Option<ConfigMap> = HfMixtral::CONFIG;

    // If frameworks for training know the model, say what they call it: `const FRAMEWORKS:
    // Option<Frameworks> = …`.
}

//! Kestrel from Hugging Face: a draft that `connector scaffold` made from the names and shapes of
//! 43 tensors.
//!
//! Names and shapes say where numbers go. Whether the model computes with them what Megatron
//! computes under these names, only its own code says.
//!
//! Left to decide; the compiler refuses each until it is done, and then `connector plan` holds the
//! importer against a checkpoint:
//!
//! - `model.layers.{layer}.short_conv.weight`: what it is called and how it gets there
//! - "residual_scale" is 0.5: a field of the model, the same in every such model, or without
//!   effect?

use connector_core::config::ConfigMap;
use connector_core::gpt;
use connector_core::{
    Mapping, ModelConnector, config_fields, config_map, mapping, model_importer, ops, param_schema,
};
use serde::{Deserialize, Serialize};

config_fields! {
    /// What the shapes follow from, with Megatron's names where it has one: operations ask for
    /// them.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct KestrelConfig {
        /// The number of layers.
        pub num_layers: usize,
        /// The width of the residual stream.
        pub hidden_size: usize,
        /// The inner width of the MLP.
        pub ffn_hidden_size: usize,
        /// The number of query heads.
        pub num_attention_heads: usize,
        /// The number of key/value heads.
        pub num_query_groups: usize,
        /// The size of a head.
        pub kv_channels: usize,
        /// The number of tokens.
        pub vocab_size: usize,
        /// The number of experts in a layer.
        pub num_moe_experts: usize,
        /// The longest sequence the model is for.
        pub seq_length: usize,
        /// How many experts see a token.
        pub moe_router_topk: usize,
        /// The `eps` of the norms.
        pub layernorm_epsilon: f64,
        /// The activation of the MLP.
        pub activation_func: String,
        /// The deviation with which weights are initialised.
        pub init_method_std: f64,
        /// Whether the output layer is the embedding.
        pub share_embeddings_and_output_weights: bool,
        /// `conv_width` of `config.json`.
        pub conv_width: usize,
        /// The base of the rotary embedding's frequencies.
        pub rotary_base: f64,
        /// How the frequencies are stretched for long sequences.
        pub rope_scaling: Option<gpt::RopeScaling>,
    }
}

impl KestrelConfig {
    /// The rows of q, k and v in one, by query group.
    pub fn qkv_rows(&self) -> usize {
        (self.num_attention_heads + 2 * self.num_query_groups) * self.kv_channels
    }

    /// The width of all query heads.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.kv_channels
    }
}

param_schema! {
    /// Kestrel in Megatron-core's names.
    pub KestrelModel(c: KestrelConfig) {
        axis layer = c.num_layers;
        axis expert: experts = c.num_moe_experts;
        flag tied = c.share_embeddings_and_output_weights;

        "embedding.word_embeddings.weight": [c.vocab_size, c.hidden_size];
        "decoder.final_layernorm.weight": [c.hidden_size];
        "output_layer.weight": [c.vocab_size, c.hidden_size] if !tied;
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "pre_mlp_layernorm.weight": [c.hidden_size];
            "mlp.router.weight": [c.num_moe_experts, c.hidden_size];
            "mlp.experts.local_experts.{expert}.linear_fc1.weight":
                [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.experts.local_experts.{expert}.linear_fc2.weight":
                [c.hidden_size, c.ffn_hidden_size];
            // Decide: nothing knows this tensor. What is it called in your model, and which shape
            // does it have there?
            "short_conv.weight": [c.hidden_size, 1, c.conv_width]; // by its size alone
        }
    }
}

/// Kestrel from Hugging Face.
pub struct HfKestrel;

#[model_importer(KestrelModel, "hf", architectures = ["KestrelForCausalLM"], export)]
impl ModelConnector for HfKestrel {
    const MAPPING: Mapping = mapping! {
        "model.embed_tokens.weight" => "embedding.word_embeddings.weight",
        "model.norm.weight" => "decoder.final_layernorm.weight",
        "lm_head.weight" => "output_layer.weight",
        "lm_head.weight" == "model.embed_tokens.weight" when tied,
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
            // Decide: take this row, with the name that you gave the parameter, or `ignore` the
            // tensor and delete the parameter.
            // "short_conv.weight" => "short_conv.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { KestrelConfig {
        "model_type" = "kestrel",
        "num_hidden_layers" <=> num_layers,
        "hidden_size" <=> hidden_size,
        "intermediate_size" <=> ffn_hidden_size,
        "num_attention_heads" <=> num_attention_heads,
        "num_key_value_heads" <=> num_query_groups = like num_attention_heads,
        "head_dim" <=> kv_channels = by gpt::head_size,
        "vocab_size" <=> vocab_size,
        "num_local_experts" <=> num_moe_experts,
        "max_position_embeddings" <=> seq_length,
        "num_experts_per_tok" <=> moe_router_topk,
        "rms_norm_eps" <=> layernorm_epsilon,
        "hidden_act" <=> activation_func,
        "initializer_range" <=> init_method_std,
        "conv_width" <=> conv_width,
        "tie_word_embeddings" <=> share_embeddings_and_output_weights = false,
        ..gpt::ROPE,
        // Without effect on what the model computes.
        carry [
            "architectures", "bos_token_id", "eos_token_id", "torch_dtype", "transformers_version",
            "use_cache",
        ],
        // Decide: "residual_scale" is 0.5: a field of the model, the same in every such model, or
        // without effect? Take one of these rows.
        // "residual_scale" <=> residual_scale,
        // neutral "residual_scale" = 0.5,
        // carry ["residual_scale"],
    }});
}

compile_error!(
    "decide: \"residual_scale\" is 0.5: a field of the model, the same in every such model, or without effect?"
);

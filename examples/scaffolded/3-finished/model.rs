//! Kestrel from Hugging Face: the draft of `connector scaffold`, finished.

use connector_core::config::ConfigMap;
use connector_core::gpt;
use connector_core::{
    Mapping, ModelConnector, Tensor, config_fields, config_map, mapping, model_importer, ops,
    param_schema, state_transform,
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
        /// The positions that the short convolution sees.
        pub conv_width: usize,
        /// What a layer adds to the residual stream is multiplied by this.
        pub residual_scale: f64,
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
            "self_attention.short_conv.weight": [c.hidden_size, c.conv_width];
        }
    }
}

/// A convolution over each channel by itself: `[hidden, 1, width]` there, `[hidden, width]` here.
#[state_transform(inverse = restore_kernel)]
fn flatten_kernel(kernel: Tensor) -> candle_core::Result<Tensor> {
    kernel.flatten_from(1)
}

/// The way back.
#[state_transform]
fn restore_kernel(matrix: Tensor) -> candle_core::Result<Tensor> {
    matrix.unsqueeze(1)
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
            "short_conv.weight" => "self_attention.short_conv.weight" via flatten_kernel,
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
        "residual_scale" <=> residual_scale,
    }});
}

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
//! - "residual_scale" is 0.5: read it into the config, or take no other value with
//!   `fields.neutral("residual_scale", &[0.5.into()])`

use connector_core::checkpoint::Checkpoint;
use connector_core::gpt;
use connector_core::{Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};
use serde::{Deserialize, Serialize};

/// What the shapes follow from, with Megatron's names where it has one: operations ask for them.
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

#[model_importer(KestrelModel, "hf", architectures = ["KestrelForCausalLM"])]
impl ModelConnector for HfKestrel {
    const MAPPING: Mapping = mapping! {
        "model.embed_tokens.weight" => "embedding.word_embeddings.weight",
        "model.norm.weight" => "decoder.final_layernorm.weight",
        "lm_head.weight" => "output_layer.weight",
        "lm_head.weight" == "model.embed_tokens.weight" when tied,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
            (
                "self_attn.q_proj.weight",
                "self_attn.k_proj.weight",
                "self_attn.v_proj.weight",
            ) => "self_attention.linear_qkv.weight" via ops::merge_qkv,
            "self_attn.o_proj.weight" => "self_attention.linear_proj.weight",
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

    fn config(source: &Checkpoint) -> Result<KestrelConfig> {
        let fields = source.fields();
        let hidden_size: usize = fields.required("hidden_size");
        let num_attention_heads: usize = fields.required("num_attention_heads");
        let (rotary_base, rope_scaling) = gpt::rope(&fields, 10_000.0);
        let config = KestrelConfig {
            num_layers: fields.required("num_hidden_layers"),
            hidden_size,
            ffn_hidden_size: fields.required("intermediate_size"),
            num_attention_heads,
            num_query_groups: fields.or("num_key_value_heads", num_attention_heads),
            kv_channels: fields.or("head_dim", hidden_size / num_attention_heads.max(1)),
            vocab_size: fields.required("vocab_size"),
            num_moe_experts: fields.required("num_local_experts"),
            seq_length: fields.required("max_position_embeddings"),
            moe_router_topk: fields.required("num_experts_per_tok"),
            layernorm_epsilon: fields.required("rms_norm_eps"),
            activation_func: fields.required("hidden_act"),
            init_method_std: fields.required("initializer_range"),
            conv_width: fields.required("conv_width"),
            share_embeddings_and_output_weights: fields.or("tie_word_embeddings", false),
            rotary_base,
            rope_scaling,
        };
        compile_error!(
            "decide: \"residual_scale\" is 0.5: read it into the config, or take no other value with `fields.neutral(\"residual_scale\", &[0.5.into()])`"
        );
        fields.settle_rest(&[]);
        for (name, size) in [
            ("num_hidden_layers", config.num_layers),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.ffn_hidden_size),
            ("num_attention_heads", config.num_attention_heads),
            ("num_key_value_heads", config.num_query_groups),
            ("head_dim", config.kv_channels),
            ("vocab_size", config.vocab_size),
            ("num_local_experts", config.num_moe_experts),
            ("conv_width", config.conv_width),
        ] {
            if size == 0 || size > 1 << 20 {
                let problem = format!("is {size}; it should be from 1 to {}", 1 << 20);
                fields.malformed(name, problem);
            }
        }
        fields.finish()?;
        Ok(config)
    }
}

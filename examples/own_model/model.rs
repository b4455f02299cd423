//! Sparrow, a made-up model, from nothing to an importer.
//!
//! The path is the one to take for a real model: declare the parameters, write an empty importer,
//! let the compiler and `connector plan` say what is missing, fill in renames, write the one
//! function that is special.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::{
    Mapping, ModelConnector, Result, Tensor, mapping, model_importer, ops, param_schema,
    state_transform,
};
use serde::{Deserialize, Serialize};

/// What Sparrow's shapes follow from. Built-in operations ask it by Megatron's names:
/// `num_attention_heads`, `num_query_groups`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SparrowConfig {
    /// The number of layers.
    pub num_layers: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The inner width of an expert.
    pub ffn_hidden_size: usize,
    /// The number of query heads.
    pub num_attention_heads: usize,
    /// The number of key/value heads.
    pub num_query_groups: usize,
    /// The number of experts in each layer.
    pub num_moe_experts: usize,
    /// The number of tokens.
    pub vocab_size: usize,
    /// The side of an image patch, in pixels.
    pub patch_size: usize,
    /// Whether the output layer is the embedding.
    pub tied: bool,
}

impl SparrowConfig {
    fn qkv_rows(&self) -> usize {
        let head = self.hidden_size / self.num_attention_heads;
        (self.num_attention_heads + 2 * self.num_query_groups) * head
    }
}

// 1. The parameters: names, shapes, and when they exist. An index in a name runs over an axis.
param_schema! {
    /// Sparrow as it is trained.
    pub SparrowModel(c: SparrowConfig) {
        axis layer = c.num_layers;
        axis expert = c.num_moe_experts;
        flag tied = c.tied;

        "embedding.word_embeddings.weight": [c.vocab_size, c.hidden_size];
        "output_layer.weight": [c.vocab_size, c.hidden_size] if !tied;
        "vision.patch_embedding.weight": [c.hidden_size, 3 * c.patch_size * c.patch_size];
        "decoder.layers.{layer}" {
            "input_layernorm.weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "mlp.router.weight": [c.num_moe_experts, c.hidden_size];
            "mlp.experts.linear_fc1.weight": [c.num_moe_experts, c.ffn_hidden_size, c.hidden_size];
            "mlp.experts.linear_fc2.weight{expert}": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

// 2. The one thing that no built-in operation does: a convolution over patches becomes a matrix.
//    Without keys it is an operation, which rows apply with `via`.
#[state_transform]
fn flatten_patches(kernel: Tensor) -> candle_core::Result<Tensor> {
    kernel.flatten_from(1)
}

/// Sparrow from its Hugging Face form.
pub struct HfSparrow;

// 3. The importer. The attribute registers it; the command line finds it by the architecture.
#[model_importer(SparrowModel, "hf", architectures = ["SparrowForCausalLM"])]
impl ModelConnector for HfSparrow {
    const MAPPING: Mapping = mapping! {
        "sparrow.wte.weight" => "embedding.word_embeddings.weight",
        "head.weight" => "output_layer.weight",
        "sparrow.patches.weight" => "vision.patch_embedding.weight" via flatten_patches,
        "sparrow.blocks.{layer}" => "decoder.layers.{layer}" {
            "norm.weight" => "input_layernorm.weight",
            // [Q; K; V] one on top of the other there, by query group here: same shape, other rows.
            "attn.qkv.weight" => "self_attention.linear_qkv.weight" via ops::merge_qkv_concat,
            "gate.weight" => "mlp.router.weight",
            // One tensor per expert there, one with an axis of experts here …
            "experts.{expert}.up.weight" => "mlp.experts.linear_fc1.weight" stack expert,
            // … and the other way round.
            "down.weight" => "mlp.experts.linear_fc2.weight{expert}" unstack expert,
            ignore "attn.mask",
        },
    };

    // 4. The config: every field that is read is accounted for, every one that is not is judged.
    fn config(source: &HfCheckpoint) -> Result<SparrowConfig> {
        let fields = source.fields();
        let config = SparrowConfig {
            num_layers: fields.required("n_layer"),
            hidden_size: fields.required("n_embd"),
            ffn_hidden_size: fields.required("n_inner"),
            num_attention_heads: fields.required("n_head"),
            num_query_groups: fields.required("n_head_kv"),
            num_moe_experts: fields.required("n_experts"),
            vocab_size: fields.required("vocab_size"),
            patch_size: fields.required("patch_size"),
            tied: fields.or("tie_word_embeddings", false),
        };
        fields.settle_rest(&[]);
        if config.num_attention_heads == 0 {
            fields.malformed("n_head", "is 0");
        }
        fields.finish()?;
        Ok(config)
    }
}

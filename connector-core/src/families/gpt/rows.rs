//! The rows of a mapping that the families share.

use crate::mapping::Mapping;
use crate::{mapping, ops};

/// What stands before and after the layers: the embedding, the last norm, the output layer. For
/// models with a flag `tied`.
pub const ENDS: Mapping = mapping! {
    "model.embed_tokens.weight" => "embedding.word_embeddings.weight" via ops::pad_vocab,
    "model.norm.weight" => "decoder.final_layernorm.weight",
    "lm_head.weight" => "output_layer.weight" via ops::pad_vocab,
    "lm_head.weight" == "model.embed_tokens.weight" when tied,
    // Old checkpoints store the rotary frequencies, which follow from the config.
    ignore "model.rotary_emb.inv_freq",
    ignore "model.layers.{layer}.self_attn.rotary_emb.{buffer:inv_freq|cos_cached|sin_cached}",
};

/// Attention of one layer: the norm before it, q, k and v by query group, the projection after.
pub const ATTENTION: Mapping = mapping! {
    "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
    ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")
        => "self_attention.linear_qkv.weight" via ops::merge_qkv,
    "self_attn.o_proj.weight" => "self_attention.linear_proj.weight",
};

/// The biases of attention: of q, k and v by query group, and of the projection after.
pub const ATTENTION_BIASES: Mapping = mapping! {
    ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias")
        => "self_attention.linear_qkv.bias" via ops::merge_qkv,
    "self_attn.o_proj.bias" => "self_attention.linear_proj.bias",
};

/// The gated MLP of one layer: the norm before it, gate over up, down.
pub const GATED_MLP: Mapping = mapping! {
    "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
    ("mlp.gate_proj.weight", "mlp.up_proj.weight") => "mlp.linear_fc1.weight" via ops::merge_fc1,
    "mlp.down_proj.weight" => "mlp.linear_fc2.weight",
};

/// The biases of the gated MLP.
pub const MLP_BIASES: Mapping = mapping! {
    ("mlp.gate_proj.bias", "mlp.up_proj.bias") => "mlp.linear_fc1.bias" via ops::merge_fc1,
    "mlp.down_proj.bias" => "mlp.linear_fc2.bias",
};

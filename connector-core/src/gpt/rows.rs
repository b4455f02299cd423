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
    ..ATTENTION_PROJECTIONS,
};

/// The projections of attention: q, k and v by query group, and the one after.
pub const ATTENTION_PROJECTIONS: Mapping = mapping! {
    ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")
        => "self_attention.linear_qkv.weight" via ops::merge_qkv,
    "self_attn.o_proj.weight" => "self_attention.linear_proj.weight",
};

/// The biases of attention: of q, k and v by query group, and of the projection after.
pub const ATTENTION_BIASES: Mapping = mapping! {
    ..QKV_BIASES,
    "self_attn.o_proj.bias" => "self_attention.linear_proj.bias",
};

/// The biases of q, k and v by query group, of attention whose projection after has none.
pub const QKV_BIASES: Mapping = mapping! {
    ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias")
        => "self_attention.linear_qkv.bias" via ops::merge_qkv,
};

/// The norms of each head's queries and keys.
pub const QK_NORMS: Mapping = mapping! {
    "self_attn.q_norm.weight" => "self_attention.q_layernorm.weight",
    "self_attn.k_norm.weight" => "self_attention.k_layernorm.weight",
};

/// The gated MLP of one layer: the norm before it, gate over up, down.
pub const GATED_MLP: Mapping = mapping! {
    "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
    ..GATED_PROJECTIONS,
};

/// The projections of a gated MLP: gate over up, down.
pub const GATED_PROJECTIONS: Mapping = mapping! {
    ("mlp.gate_proj.weight", "mlp.up_proj.weight") => "mlp.linear_fc1.weight" via ops::merge_fc1,
    "mlp.down_proj.weight" => "mlp.linear_fc2.weight",
};

/// The biases of the layer norms before attention and the MLP.
pub const NORM_BIASES: Mapping = mapping! {
    "input_layernorm.bias" => "self_attention.linear_qkv.layer_norm_bias",
    "post_attention_layernorm.bias" => "mlp.linear_fc1.layer_norm_bias",
};

/// Three of the four norms of a layer that has them before and after: after attention, before the MLP
/// and after it. What Llama calls the norm after attention is the one before the MLP.
pub const FOUR_NORMS: Mapping = mapping! {
    "post_attention_layernorm.weight" => "self_attention.linear_proj.post_layernorm.weight",
    "pre_feedforward_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
    "post_feedforward_layernorm.weight" => "mlp.linear_fc2.post_layernorm.weight",
};

/// The biases of the gated MLP.
pub const MLP_BIASES: Mapping = mapping! {
    ("mlp.gate_proj.bias", "mlp.up_proj.bias") => "mlp.linear_fc1.bias" via ops::merge_fc1,
    "mlp.down_proj.bias" => "mlp.linear_fc2.bias",
};

/// A mixture of experts of one layer, with a key for each expert, or all experts in one tensor:
/// `[experts, gate over up, hidden]` and `[experts, hidden, inner width]`, as transformers 5 holds
/// them in memory, and saves them if asked not to convert back. For models with an axis `e`.
pub const EXPERTS: Mapping = mapping! {
    "post_attention_layernorm.weight" => "pre_mlp_layernorm.weight",
    "mlp.gate.weight" => "mlp.router.weight",
    one_of {
        apart {
            ("mlp.experts.{e}.gate_proj.weight", "mlp.experts.{e}.up_proj.weight")
                => "mlp.experts.local_experts.{e}.linear_fc1.weight" via ops::merge_fc1,
            "mlp.experts.{e}.down_proj.weight"
                => "mlp.experts.local_experts.{e}.linear_fc2.weight",
        }
        fused {
            "mlp.experts.gate_up_proj"
                => "mlp.experts.local_experts.{e}.linear_fc1.weight" unstack e,
            "mlp.experts.down_proj"
                => "mlp.experts.local_experts.{e}.linear_fc2.weight" unstack e,
        }
    }
};

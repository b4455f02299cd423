//! What layers are made of: of each block its parameters, for schemas, and under the same name its
//! rows, for mappings. Those of a layer stand under its prefix.

use super::GptConfig;
use crate::mapping::Mapping;
use crate::{mapping, ops, param_block};

param_block! {
    /// What stands before and after the layers: the embedding, the last norm, the output layer.
    pub ENDS(c: GptConfig) {
        flag tied = c.share_embeddings_and_output_weights;
        vocabulary vocab_size padded to make_vocab_size_divisible_by;
        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
    }
}

/// The rows of the block.
pub const ENDS: Mapping = mapping! {
    "model.embed_tokens.weight" => "embedding.word_embeddings.weight" via ops::pad_vocab,
    "model.norm.weight" => "decoder.final_layernorm.weight",
    "lm_head.weight" => "output_layer.weight" via ops::pad_vocab,
    "lm_head.weight" == "model.embed_tokens.weight" when tied,
    // Old checkpoints store the rotary frequencies, which follow from the config.
    ignore "model.rotary_emb.inv_freq",
    ignore "model.layers.{layer}.self_attn.rotary_emb.{buffer:inv_freq|cos_cached|sin_cached}",
};

param_block! {
    /// Attention of one layer: the norm before it, q, k and v by query group, the projection after.
    pub ATTENTION(c: GptConfig) {
        "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
        ..ATTENTION_PROJECTIONS;
    }
}

/// The rows of the block.
pub const ATTENTION: Mapping = mapping! {
    "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
    ..ATTENTION_PROJECTIONS,
};

param_block! {
    /// The projections of attention: q, k and v by query group, and the one after.
    pub ATTENTION_PROJECTIONS(c: GptConfig) {
        "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
        "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
    }
}

/// The rows of the block.
pub const ATTENTION_PROJECTIONS: Mapping = mapping! {
    ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")
        => "self_attention.linear_qkv.weight" via ops::merge_qkv,
    "self_attn.o_proj.weight" => "self_attention.linear_proj.weight",
};

param_block! {
    /// The biases of attention: of q, k and v by query group, and of the projection after.
    pub ATTENTION_BIASES(c: GptConfig) {
        flag attention_bias = c.attention_bias;
        ..QKV_BIASES if attention_bias;
        "self_attention.linear_proj.bias": [c.hidden_size] if attention_bias;
    }
}

/// The rows of the block.
pub const ATTENTION_BIASES: Mapping = mapping! {
    ..QKV_BIASES,
    "self_attn.o_proj.bias" => "self_attention.linear_proj.bias",
};

param_block! {
    /// The biases of q, k and v by query group, of attention whose projection after has none.
    pub QKV_BIASES(c: GptConfig) {
        "self_attention.linear_qkv.bias": [c.qkv_rows()];
    }
}

/// The rows of the block.
pub const QKV_BIASES: Mapping = mapping! {
    ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias")
        => "self_attention.linear_qkv.bias" via ops::merge_qkv,
};

param_block! {
    /// The norms of queries and keys: of each head's, or of all heads' at once.
    pub QK_NORMS(c: GptConfig) {
        "self_attention.q_layernorm.weight":
            [if c.qk_layernorm_full_width { c.query_width() } else { c.kv_channels }];
        "self_attention.k_layernorm.weight":
            [if c.qk_layernorm_full_width { c.key_width() } else { c.kv_channels }];
    }
}

/// The rows of the block.
pub const QK_NORMS: Mapping = mapping! {
    "self_attn.q_norm.weight" => "self_attention.q_layernorm.weight",
    "self_attn.k_norm.weight" => "self_attention.k_layernorm.weight",
};

param_block! {
    /// The gated MLP of one layer: the norm before it, gate over up, down.
    pub GATED_MLP(c: GptConfig) {
        "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
        ..GATED_PROJECTIONS;
    }
}

/// The rows of the block.
pub const GATED_MLP: Mapping = mapping! {
    "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
    ..GATED_PROJECTIONS,
};

param_block! {
    /// The projections of a gated MLP: gate over up, down.
    pub GATED_PROJECTIONS(c: GptConfig) {
        "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
        "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
    }
}

/// The rows of the block.
pub const GATED_PROJECTIONS: Mapping = mapping! {
    ("mlp.gate_proj.weight", "mlp.up_proj.weight") => "mlp.linear_fc1.weight" via ops::merge_fc1,
    "mlp.down_proj.weight" => "mlp.linear_fc2.weight",
};

param_block! {
    /// The biases of the layer norms before attention and the MLP.
    pub NORM_BIASES(c: GptConfig) {
        "self_attention.linear_qkv.layer_norm_bias": [c.hidden_size];
        "mlp.linear_fc1.layer_norm_bias": [c.hidden_size];
    }
}

/// The rows of the block.
pub const NORM_BIASES: Mapping = mapping! {
    "input_layernorm.bias" => "self_attention.linear_qkv.layer_norm_bias",
    "post_attention_layernorm.bias" => "mlp.linear_fc1.layer_norm_bias",
};

param_block! {
    /// Three of the four norms of a layer that has them before and after: after attention, before the
    /// MLP and after it. What Llama calls the norm after attention is the one before the MLP.
    pub FOUR_NORMS(c: GptConfig) {
        "self_attention.linear_proj.post_layernorm.weight": [c.hidden_size];
        "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
        "mlp.linear_fc2.post_layernorm.weight": [c.hidden_size];
    }
}

/// The rows of the block.
pub const FOUR_NORMS: Mapping = mapping! {
    "post_attention_layernorm.weight" as post_attention_norm
        => "self_attention.linear_proj.post_layernorm.weight",
    "pre_feedforward_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
    "post_feedforward_layernorm.weight" => "mlp.linear_fc2.post_layernorm.weight",
};

param_block! {
    /// The biases of the gated MLP.
    pub MLP_BIASES(c: GptConfig) {
        flag mlp_bias = c.mlp_bias;
        "mlp.linear_fc1.bias": [2 * c.ffn_hidden_size] if mlp_bias;
        "mlp.linear_fc2.bias": [c.hidden_size] if mlp_bias;
    }
}

/// The rows of the block.
pub const MLP_BIASES: Mapping = mapping! {
    ("mlp.gate_proj.bias", "mlp.up_proj.bias") => "mlp.linear_fc1.bias" via ops::merge_fc1,
    "mlp.down_proj.bias" => "mlp.linear_fc2.bias",
};

param_block! {
    /// A plain MLP, `linear_fc2(activation(linear_fc1(x)))`, and the norm before it.
    pub PLAIN_MLP(c: GptConfig) {
        flag mlp_bias = c.mlp_bias;
        "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
        "mlp.linear_fc1.weight": [c.ffn_hidden_size, c.hidden_size];
        "mlp.linear_fc1.bias": [c.ffn_hidden_size] if mlp_bias;
        "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        "mlp.linear_fc2.bias": [c.hidden_size] if mlp_bias;
    }
}

param_block! {
    /// A mixture of experts of one layer, with a key for each expert, or all experts in one tensor:
    /// `[experts, gate over up, hidden]` and `[experts, hidden, inner width]`, as transformers 5 holds
    /// them in memory, and saves them if asked not to convert back. For models with an axis `e`.
    pub EXPERTS(c: GptConfig) {
        axis e: experts(moe_grouped_gemm) = c.experts();
        "pre_mlp_layernorm.weight": [c.hidden_size];
        "mlp.router.weight": [c.experts(), c.hidden_size];
        "mlp.experts.local_experts.{e}.linear_fc1.weight": [2 * c.expert_width(), c.hidden_size];
        "mlp.experts.local_experts.{e}.linear_fc2.weight": [c.hidden_size, c.expert_width()];
    }
}

/// The rows of the block.
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

/// The rows of the block as Mixtral and MiniMax-M2 name them: w1 is the gate, w3 up, w2 down.
pub const MIXTRAL_EXPERTS: Mapping = mapping! {
    "post_attention_layernorm.weight" => "pre_mlp_layernorm.weight",
    one_of {
        // As on the hub.
        apart {
            "block_sparse_moe.gate.weight" => "mlp.router.weight",
            ("block_sparse_moe.experts.{e}.w1.weight", "block_sparse_moe.experts.{e}.w3.weight")
                => "mlp.experts.local_experts.{e}.linear_fc1.weight" via ops::merge_fc1,
            "block_sparse_moe.experts.{e}.w2.weight"
                => "mlp.experts.local_experts.{e}.linear_fc2.weight",
        }
        // As transformers 5 holds them in memory, and saves them if asked not to convert back.
        fused {
            "mlp.gate.weight" => "mlp.router.weight",
            "mlp.experts.gate_up_proj"
                => "mlp.experts.local_experts.{e}.linear_fc1.weight" unstack e,
            "mlp.experts.down_proj"
                => "mlp.experts.local_experts.{e}.linear_fc2.weight" unstack e,
        }
    }
};

param_block! {
    /// The expert that sees every token, beside a mixture.
    pub SHARED_EXPERT(c: GptConfig) {
        "mlp.shared_experts.linear_fc1.weight": [2 * c.shared_width(), c.hidden_size];
        "mlp.shared_experts.linear_fc2.weight": [c.hidden_size, c.shared_width()];
    }
}

/// The rows of the block.
pub const SHARED_EXPERT: Mapping = mapping! {
    ("mlp.shared_experts.gate_proj.weight", "mlp.shared_experts.up_proj.weight")
        => "mlp.shared_experts.linear_fc1.weight" via ops::merge_fc1,
    "mlp.shared_experts.down_proj.weight" => "mlp.shared_experts.linear_fc2.weight",
};

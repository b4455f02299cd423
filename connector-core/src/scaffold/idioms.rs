//! What the field has agreed on, as data: how Hugging Face's models name tensors and config
//! fields, and what Megatron-core and NeMo 2 call the same.

/// A tensor, or several that become one, which decoder-only models have under these names.
///
/// Names are relative to a layer or, without layers, to the model; `{p}` is `weight` or `bias`.
/// Where several fit, the first one is taken.
pub struct Idiom {
    pub sources: &'static [&'static str],
    pub target: &'static str,
    /// The operation in `connector_core::ops`; empty for another name alone.
    pub via: &'static str,
    /// The shape of the target's weight; a bias has the first of it.
    pub shape: &'static [Dim],
    /// Another tensor of the same layer, without which the idiom means something else.
    pub beside: &'static str,
}

/// A dimension by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    Hidden,
    Vocabulary,
    HeadWidth,
    QueryWidth,
    QkvRows,
    Ffn,
    TwiceFfn,
    ExpertFfn,
    TwiceExpertFfn,
    SharedFfn,
    TwiceSharedFfn,
    Experts,
    /// The ranks and widths of multi-head latent attention.
    QueryRank,
    KeyValueRank,
    LatentQuery,
    LatentDown,
    LatentUp,
    LatentValues,
    /// Whatever number of the config it is.
    Any,
}

use Dim::*;

const fn idiom(
    sources: &'static [&'static str],
    target: &'static str,
    via: &'static str,
    shape: &'static [Dim],
) -> Idiom {
    Idiom { sources, target, via, shape, beside: "" }
}

/// What the dimensions of a parameter mean, if the table has it.
pub fn meaning(target: &str) -> &'static [Dim] {
    let named = |p: &str| {
        let mut all = TOP.iter().chain(&LAYER).filter(|idiom| idiom.beside.is_empty());
        all.find(|idiom| idiom.target.replace("{p}", p) == target)
    };
    match (named("weight"), named("bias")) {
        (Some(idiom), _) => idiom.shape,
        (None, Some(idiom)) => &idiom.shape[..1],
        (None, None) => &[],
    }
}

impl Idiom {
    const fn beside(self, beside: &'static str) -> Idiom {
        Idiom { beside, ..self }
    }
}

/// Tensors outside of the layers.
pub const TOP: [Idiom; 8] = [
    idiom(&["embed_tokens.{p}"], "embedding.word_embeddings.{p}", "", &[Vocabulary, Hidden]),
    idiom(&["wte.{p}"], "embedding.word_embeddings.{p}", "", &[Vocabulary, Hidden]),
    idiom(&["wpe.{p}"], "embedding.position_embeddings.{p}", "", &[Any, Hidden]),
    idiom(&["norm.{p}"], "decoder.final_layernorm.{p}", "", &[Hidden]),
    idiom(&["final_layernorm.{p}"], "decoder.final_layernorm.{p}", "", &[Hidden]),
    idiom(&["ln_f.{p}"], "decoder.final_layernorm.{p}", "", &[Hidden]),
    idiom(&["lm_head.{p}"], "output_layer.{p}", "", &[Vocabulary, Hidden]),
    idiom(&["embed_out.{p}"], "output_layer.{p}", "", &[Vocabulary, Hidden]),
];

/// Tensors of a layer.
pub const LAYER: [Idiom; 42] = [
    // The norm before attention: fused with the projection, but for multi-head latent attention.
    idiom(&["input_layernorm.{p}"], "input_layernorm.{p}", "", &[Hidden])
        .beside("self_attn.kv_a_proj_with_mqa.weight"),
    idiom(&["input_layernorm.{p}"], "self_attention.linear_qkv.layer_norm_{p}", "", &[Hidden]),
    idiom(
        &["self_attn.q_proj.{p}", "self_attn.k_proj.{p}", "self_attn.v_proj.{p}"],
        "self_attention.linear_qkv.{p}",
        "merge_qkv",
        &[QkvRows, Hidden],
    ),
    // [Q; K; V] in one: Phi 3, Baichuan 2.
    idiom(
        &["self_attn.qkv_proj.{p}"],
        "self_attention.linear_qkv.{p}",
        "merge_qkv_concat",
        &[QkvRows, Hidden],
    ),
    idiom(
        &["self_attn.W_pack.{p}"],
        "self_attention.linear_qkv.{p}",
        "merge_qkv_concat",
        &[QkvRows, Hidden],
    ),
    idiom(&["self_attn.o_proj.{p}"], "self_attention.linear_proj.{p}", "", &[Hidden, LatentValues])
        .beside("self_attn.kv_a_proj_with_mqa.weight"),
    idiom(&["self_attn.o_proj.{p}"], "self_attention.linear_proj.{p}", "", &[Hidden, QueryWidth]),
    idiom(&["self_attn.q_norm.{p}"], "self_attention.q_layernorm.{p}", "", &[HeadWidth]),
    idiom(&["self_attn.k_norm.{p}"], "self_attention.k_layernorm.{p}", "", &[HeadWidth]),
    idiom(&["self_attn.sinks"], "self_attention.core_attention.softmax_offset", "", &[Any]),
    // Multi-head latent attention: DeepSeek.
    idiom(
        &["self_attn.q_a_proj.{p}"],
        "self_attention.linear_q_down_proj.{p}",
        "",
        &[QueryRank, Hidden],
    ),
    idiom(
        &["self_attn.q_b_proj.{p}"],
        "self_attention.linear_q_up_proj.{p}",
        "",
        &[LatentQuery, QueryRank],
    ),
    idiom(
        &["self_attn.q_a_layernorm.{p}"],
        "self_attention.linear_q_up_proj.layer_norm_{p}",
        "",
        &[QueryRank],
    ),
    idiom(
        &["self_attn.q_proj.{p}"],
        "self_attention.linear_q_proj.{p}",
        "",
        &[LatentQuery, Hidden],
    )
    .beside("self_attn.kv_a_proj_with_mqa.weight"),
    idiom(
        &["self_attn.kv_a_proj_with_mqa.{p}"],
        "self_attention.linear_kv_down_proj.{p}",
        "",
        &[LatentDown, Hidden],
    ),
    idiom(
        &["self_attn.kv_b_proj.{p}"],
        "self_attention.linear_kv_up_proj.{p}",
        "",
        &[LatentUp, KeyValueRank],
    ),
    idiom(
        &["self_attn.kv_a_layernorm.{p}"],
        "self_attention.linear_kv_up_proj.layer_norm_{p}",
        "",
        &[KeyValueRank],
    ),
    // Norms on both sides: Gemma 2 and 3, where the name of Llama's MLP norm means another.
    idiom(
        &["post_attention_layernorm.{p}"],
        "self_attention.linear_proj.post_layernorm.{p}",
        "",
        &[Hidden],
    )
    .beside("pre_feedforward_layernorm.weight"),
    idiom(&["pre_feedforward_layernorm.{p}"], "mlp.linear_fc1.layer_norm_{p}", "", &[Hidden]),
    idiom(&["post_feedforward_layernorm.{p}"], "mlp.linear_fc2.post_layernorm.{p}", "", &[Hidden]),
    // The norm before the MLP: by itself before experts, fused otherwise.
    idiom(&["post_attention_layernorm.{p}"], "pre_mlp_layernorm.{p}", "", &[Hidden])
        .beside("block_sparse_moe.gate.weight"),
    idiom(&["post_attention_layernorm.{p}"], "pre_mlp_layernorm.{p}", "", &[Hidden])
        .beside("mlp.gate.weight"),
    idiom(&["post_attention_layernorm.{p}"], "pre_mlp_layernorm.{p}", "", &[Hidden])
        .beside("mlp.router.weight"),
    idiom(&["post_attention_layernorm.{p}"], "mlp.linear_fc1.layer_norm_{p}", "", &[Hidden]),
    // The MLP, gated and not.
    idiom(
        &["mlp.gate_proj.{p}", "mlp.up_proj.{p}"],
        "mlp.linear_fc1.{p}",
        "merge_fc1",
        &[TwiceFfn, Hidden],
    ),
    idiom(&["mlp.gate_up_proj.{p}"], "mlp.linear_fc1.{p}", "", &[TwiceFfn, Hidden]),
    idiom(&["mlp.up_proj.{p}"], "mlp.linear_fc1.{p}", "", &[Ffn, Hidden]),
    idiom(&["mlp.c_fc.{p}"], "mlp.linear_fc1.{p}", "", &[Ffn, Hidden]),
    idiom(&["mlp.down_proj.{p}"], "mlp.linear_fc2.{p}", "", &[Hidden, Ffn]),
    idiom(&["mlp.c_proj.{p}"], "mlp.linear_fc2.{p}", "", &[Hidden, Ffn]),
    // Experts: one by one as NeMo's Mixtral has them, grouped as its Qwen 3 and DeepSeek.
    idiom(&["block_sparse_moe.gate.{p}"], "mlp.router.{p}", "", &[Experts, Hidden]),
    idiom(
        &["block_sparse_moe.experts.{expert}.w1.{p}", "block_sparse_moe.experts.{expert}.w3.{p}"],
        "mlp.experts.local_experts.{expert}.linear_fc1.{p}",
        "merge_fc1",
        &[TwiceExpertFfn, Hidden],
    ),
    idiom(
        &["block_sparse_moe.experts.{expert}.w2.{p}"],
        "mlp.experts.local_experts.{expert}.linear_fc2.{p}",
        "",
        &[Hidden, ExpertFfn],
    ),
    idiom(&["mlp.gate.{p}"], "mlp.router.{p}", "", &[Experts, Hidden]),
    idiom(&["mlp.router.{p}"], "mlp.router.{p}", "", &[Experts, Hidden]),
    idiom(&["mlp.gate.e_score_correction_bias"], "mlp.router.expert_bias", "", &[Experts]),
    idiom(
        &["mlp.experts.{expert}.gate_proj.{p}", "mlp.experts.{expert}.up_proj.{p}"],
        "mlp.experts.linear_fc1.{p}{expert}",
        "merge_fc1",
        &[TwiceExpertFfn, Hidden],
    ),
    idiom(
        &["mlp.experts.{expert}.down_proj.{p}"],
        "mlp.experts.linear_fc2.{p}{expert}",
        "",
        &[Hidden, ExpertFfn],
    ),
    idiom(
        &["mlp.shared_experts.gate_proj.{p}", "mlp.shared_experts.up_proj.{p}"],
        "mlp.shared_experts.linear_fc1.{p}",
        "merge_fc1",
        &[TwiceSharedFfn, Hidden],
    ),
    idiom(
        &["mlp.shared_experts.down_proj.{p}"],
        "mlp.shared_experts.linear_fc2.{p}",
        "",
        &[Hidden, SharedFfn],
    ),
    idiom(
        &["mlp.shared_expert.gate_proj.{p}", "mlp.shared_expert.up_proj.{p}"],
        "mlp.shared_experts.linear_fc1.{p}",
        "merge_fc1",
        &[TwiceSharedFfn, Hidden],
    ),
    idiom(
        &["mlp.shared_expert.down_proj.{p}"],
        "mlp.shared_experts.linear_fc2.{p}",
        "",
        &[Hidden, SharedFfn],
    ),
];

/// Buffers that follow from the config: old checkpoints store them.
pub const BUFFERS: [&str; 4] = [
    "rotary_emb.inv_freq",
    "self_attn.rotary_emb.inv_freq",
    "self_attn.rotary_emb.cos_cached",
    "self_attn.rotary_emb.sin_cached",
];

/// Where a decoder's layers are in Megatron's names.
pub const STACK: &str = "decoder.layers";

/// A config field: what Megatron-core and NeMo 2 call it, and how Hugging Face's configs spell it.
pub struct Setting {
    pub name: &'static str,
    pub spellings: &'static [&'static str],
    pub kind: SettingKind,
    pub meaning: &'static str,
    /// What its absence means, as a row of a `config_map!` has it.
    pub absent: &'static str,
}

/// What a config field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A number of elements, of which shapes are made.
    Size,
    /// A whole number.
    Count,
    Real,
    Switch,
    Text,
}

use SettingKind::{Count, Real, Size, Switch, Text};

const fn setting(
    name: &'static str,
    spellings: &'static [&'static str],
    kind: SettingKind,
    meaning: &'static str,
) -> Setting {
    Setting { name, spellings, kind, meaning, absent: "" }
}

/// The fields that drafts know. Sizes that are more often meant come first.
pub const SETTINGS: [Setting; 23] = [
    setting(
        "num_layers",
        &["num_hidden_layers", "n_layer", "n_layers", "num_layers"],
        Size,
        "The number of layers.",
    ),
    setting(
        "hidden_size",
        &["hidden_size", "n_embd", "d_model"],
        Size,
        "The width of the residual stream.",
    ),
    setting(
        "ffn_hidden_size",
        &["intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size"],
        Size,
        "The inner width of the MLP.",
    ),
    setting(
        "num_attention_heads",
        &["num_attention_heads", "n_head", "n_heads", "num_heads"],
        Size,
        "The number of query heads.",
    ),
    Setting {
        absent: "like num_attention_heads",
        ..setting(
            "num_query_groups",
            &[
                "num_key_value_heads",
                "n_head_kv",
                "num_kv_heads",
                "n_kv_heads",
                "multi_query_group_num",
            ],
            Size,
            "The number of key/value heads.",
        )
    },
    Setting {
        absent: "by gpt::head_size",
        ..setting("kv_channels", &["head_dim", "kv_channels"], Size, "The size of a head.")
    },
    setting("vocab_size", &["vocab_size", "padded_vocab_size"], Size, "The number of tokens."),
    setting(
        "num_moe_experts",
        &["num_local_experts", "num_experts", "n_routed_experts"],
        Size,
        "The number of experts in a layer.",
    ),
    setting(
        "moe_ffn_hidden_size",
        &["moe_intermediate_size"],
        Size,
        "The inner width of an expert.",
    ),
    setting(
        "moe_shared_expert_intermediate_size",
        &["shared_expert_intermediate_size"],
        Size,
        "The inner width of the shared expert.",
    ),
    setting(
        "seq_length",
        &["max_position_embeddings", "n_positions"],
        Count,
        "The longest sequence the model is for.",
    ),
    setting("moe_router_topk", &["num_experts_per_tok"], Count, "How many experts see a token."),
    setting(
        "moe_aux_loss_coeff",
        &["router_aux_loss_coef"],
        Real,
        "The weight of the router's loss in training.",
    ),
    setting(
        "rotary_percent",
        &["partial_rotary_factor"],
        Real,
        "The part of a head that is rotated.",
    ),
    setting(
        "layernorm_epsilon",
        &["rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"],
        Real,
        "The `eps` of the norms.",
    ),
    setting(
        "activation_func",
        &["hidden_act", "hidden_activation", "activation_function"],
        Text,
        "The activation of the MLP.",
    ),
    setting(
        "init_method_std",
        &["initializer_range"],
        Real,
        "The deviation with which weights are initialised.",
    ),
    setting(
        "attn_logit_softcapping",
        &["attn_logit_softcapping"],
        Real,
        "The cap of attention's logits.",
    ),
    setting(
        "final_logit_softcapping",
        &["final_logit_softcapping"],
        Real,
        "The cap of the output's logits.",
    ),
    setting(
        "query_pre_attn_scalar",
        &["query_pre_attn_scalar"],
        Real,
        "Queries are divided by its root.",
    ),
    setting(
        "share_embeddings_and_output_weights",
        &["tie_word_embeddings"],
        Switch,
        "Whether the output layer is the embedding.",
    ),
    setting(
        "attention_bias",
        &["attention_bias"],
        Switch,
        "Whether attention's projections have biases.",
    ),
    setting("mlp_bias", &["mlp_bias"], Switch, "Whether the MLP's projections have biases."),
];

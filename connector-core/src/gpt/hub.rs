//! What `config.json` of a decoder-only model says, and how.

use super::config::{GptConfig, vocab_divisor};
use super::{layers, longrope, partial, rope, rotation, routing, sparse, window};
use crate::checkpoint::WITHOUT_EFFECT;
use crate::config::{Codec, ConfigFields, ConfigMap, NOT, Row};
use crate::config_map;
use serde_json::{Map, Value};

/// The fields that every family has: sizes, norms, the embedding, the type of the weights; and
/// those of transformers' own that have no effect on what is computed.
///
/// A family adds its `model_type`, its activation, how positions are told ([`ROPE`]) and how far
/// back tokens see ([`WINDOW`], [`NO_WINDOW`]), and says what its class means by an absent field.
pub const CORE: ConfigMap = config_map! { GptConfig {
    ..SHARED,
    "intermediate_size" <=> ffn_hidden_size,
}};

/// [`CORE`] but for the width of a dense MLP, for families that have none.
pub const SHARED: ConfigMap = config_map! { GptConfig {
    ..SIZES,
    "rms_norm_eps" <=> layernorm_epsilon = 1e-6,
    only normalization = "RMSNorm",
    only gated_linear_unit = true,
}};

/// [`SHARED`] but for what the norms are, and whether MLPs are gated.
pub const SIZES: ConfigMap = config_map! { GptConfig {
    "num_hidden_layers" <=> num_layers,
    "hidden_size" <=> hidden_size,
    "num_attention_heads" <=> num_attention_heads,
    "num_key_value_heads" <=> num_query_groups = like num_attention_heads,
    "head_dim" <=> kv_channels = by head_size,
    "max_position_embeddings" <=> seq_length = 2048,
    "vocab_size" <=> vocab_size,
    only make_vocab_size_divisible_by = by divisor,
    "tie_word_embeddings" <=> share_embeddings_and_output_weights = false,
    only position_embedding_type = "rope",
    "initializer_range" <=> init_method_std = 0.02,
    "torch_dtype" | "dtype" <=> params_dtype = null via DTYPE,
    ..CLASS,
    ..CARRIED,
}};

/// What the base class of transformers' configs has for every model.
const CLASS: ConfigMap = config_map! { GptConfig {
    neutral "is_encoder_decoder" = false,
    neutral "is_decoder" = false,
    neutral "add_cross_attention" = false,
    neutral "cross_attention_hidden_size" = null,
    neutral "tie_encoder_decoder" = false,
    neutral "chunk_size_feed_forward" = 0,
    neutral "pruned_heads" = {},
    neutral "partial_rotary_factor" = 1.0,
    // How Meta's first Llamas were cut for training; transformers sums what it cuts.
    neutral "pretraining_tp" = 1,
    // Notes of those who made Llamas of other models: SmolLM, vicuna.
    neutral "is_llama_config" = true,
    neutral "rope_interleaved" = false,
}};

/// [`WITHOUT_EFFECT`] as a row.
const CARRIED: ConfigMap = part(&[Row::Carry(WITHOUT_EFFECT)]);

/// Rotary embeddings, in the spelling of transformers 4 or 5: `rope_theta` and `rope_scaling`, or
/// `rope_parameters`. `absent "rope_theta" = …` says what the class means by its absence.
pub const ROPE: ConfigMap = part(const { &[Row::Part(rope::ROPE)] });

/// [`ROPE`] in a file that must say how it stretches, as the class does without.
pub const ROPE_SAID: ConfigMap = part(const { &[Row::Part(rope::SAID)] });

/// Rotary embeddings of a part of each head, `partial_rotary_factor`, before [`ROPE`].
/// `absent "partial_rotary_factor" = …` says what the class means by its absence.
pub const PARTIAL_ROPE: ConfigMap = part(const { &[Row::Part(partial::PARTIAL)] });

/// [`ROPE`] in files that may stretch it by LongRoPE, `original_max_position_embeddings`.
pub const LONG_ROPE: ConfigMap = part(const { &[Row::Part(longrope::LONG_ROPE)] });

/// [`PARTIAL_ROPE`] in files that may say how many elements of a head are rotated, `rotary_dim`.
pub const ROTARY_DIM: ConfigMap = part(const { &[Row::Part(partial::ROTARY_DIM)] });

/// Two rotary embeddings, the one for layers with a window with a base of its own,
/// `rope_local_base_freq`, and not stretched. `absent` says of either base what the class means by its
/// absence.
pub const TWO_ROPES: ConfigMap = part(const { &[Row::Part(rope::TWO)] });

/// Attention through one window in all layers, `sliding_window`. `absent "sliding_window" = …` says
/// what the class means by its absence.
pub const WINDOW: ConfigMap = part(const { &[Row::Part(window::WINDOW)] });

/// Attention through one window in the layers that `layer_types` lists, or in all but every so many.
/// `absent "sliding_window" = …` and `absent "sliding_window_pattern" = …` say what the class means by
/// their absence.
pub const WINDOWS: ConfigMap = part(const { &[Row::Part(layers::WINDOWS)] });

/// Attention to all tokens before, in files that may have fields of windows, switched off.
pub const NO_WINDOW: ConfigMap = part(const { &[Row::Part(window::NO_WINDOW)] });

/// A mixture of experts in some layers, routed by a softmax, as Qwen's: [`ROUTED`], with
/// `moe_intermediate_size`, and which layers are dense.
pub const MIXTURE: ConfigMap = config_map! { GptConfig {
    ..ROUTED,
    "moe_intermediate_size" <=> moe_ffn_hidden_size,
    ..SPARSE_LAYERS,
}};

/// A mixture of experts routed by a softmax: `num_experts`, `num_experts_per_tok`, `norm_topk_prob`.
pub const ROUTED: ConfigMap = config_map! { GptConfig {
    "num_experts" | "num_local_experts" <=> num_moe_experts,
    "num_experts_per_tok" <=> moe_router_topk,
    // Softmax over all, then scaling the chosen ones to a sum of 1, is softmax over the chosen.
    "norm_topk_prob" <=> moe_router_pre_softmax = false via NOT,
    "router_aux_loss_coef" <=> moe_aux_loss_coeff = 0.001,
    only moe_router_load_balancing_type = "aux_loss",
    only moe_grouped_gemm = true,
    // Whether the model returns the router's logits beside its own.
    carry ["output_router_logits"],
}};

/// Which layers are mixtures, as Llama 4 lists them, `moe_layers`.
pub const MOE_LAYERS: ConfigMap = part(const { &[Row::Part(sparse::MOE_LAYERS)] });

/// How many layers are dense, from the first one on, `first_k_dense_replace`. `absent` says what the
/// class means by its absence.
pub const FIRST_DENSE: ConfigMap = part(const { &[Row::Part(sparse::FIRST_DENSE)] });

/// From how many groups experts are chosen, `n_group` and `topk_group`.
pub const EXPERT_GROUPS: ConfigMap = part(const { &[Row::Part(routing::EXPERT_GROUPS)] });

/// The experts that see every token, `n_shared_experts`, after the width of an expert.
pub const SHARED_EXPERTS: ConfigMap = part(const { &[Row::Part(routing::SHARED_EXPERTS)] });

/// Which layers rotate, and so see their chunk, as Llama 4 lists them, `no_rope_layers`.
pub const CHUNKED_LAYERS: ConfigMap = part(const { &[Row::Part(rotation::CHUNKED_LAYERS)] });

/// Which layers rotate, `no_rope_layers`.
pub const ROPELESS_LAYERS: ConfigMap = part(const { &[Row::Part(rotation::ROPELESS_LAYERS)] });

/// How queries grow with their position where they are not rotated, `attn_temperature_tuning`.
pub const TEMPERATURE: ConfigMap = part(const { &[Row::Part(rotation::TEMPERATURE)] });

/// How queries grow with their position, beside YaRN, as Ministral 3 says it: `llama_4_scaling_beta`
/// in the object that says how frequencies are stretched.
pub const TEMPERED_ROPE: ConfigMap = part(const { &[Row::Part(rope::TEMPERED)] });

/// Attention through one window in some layers, which alone rotate, or through none in layers that all
/// rotate, as Exaone 4.
pub const ROTATED_WINDOWS: ConfigMap = part(const { &[Row::Part(layers::ROTATED_WINDOWS)] });

/// A factor, which the model's config does not say if it is 1.
pub const FACTOR: Codec = Codec {
    read: |factor| Ok(if factor.as_f64() == Some(1.0) { Value::Null } else { factor.clone() }),
    write: |factor| if factor.is_null() { 1.0.into() } else { factor.clone() },
};

/// Of one that is chosen, Megatron-core's router by sigmoids does not scale the share to 1.
pub const SEVERAL: Codec = Codec {
    read: |value| match value.as_u64() {
        Some(1) => Err("is 1; this importer knows 2 and more".into()),
        _ => Ok(value.clone()),
    },
    write: Value::clone,
};

/// Where only 1 is the same model on both sides.
pub const ONE: Codec = routing::ONE;

const SPARSE_LAYERS: ConfigMap = part(const { &[Row::Part(sparse::SPARSE_LAYERS)] });

/// A map of rows that functions read and write.
pub const fn part(rows: &'static [Row]) -> ConfigMap {
    ConfigMap { fields: GptConfig::FIELDS, misfits: <GptConfig as ConfigFields>::misfits, rows }
}

/// The activation of families that have one: silu, which transformers also calls swish.
pub const SILU: Codec = Codec {
    read: |value| match value.as_str() {
        Some("silu" | "swish") => Ok("silu".into()),
        _ => Err(format!("is {value}; this importer knows \"silu\"")),
    },
    write: Value::clone,
};

/// Any activation that is known here.
pub const ACTIVATION: Codec = Codec {
    read: |value| match value.as_str() {
        Some("swish") => Ok("silu".into()),
        Some("silu" | "gelu" | "gelu_pytorch_tanh" | "quick_gelu" | "relu2") => Ok(value.clone()),
        _ => Err(format!(
            "is {value}; this importer knows \"silu\", \"gelu\", \"gelu_pytorch_tanh\", \
             \"quick_gelu\", \"relu2\""
        )),
    },
    write: Value::clone,
};

/// `query_pre_attn_scalar`, of which scores are divided by the root: `softmax_scale`.
pub const PRE_ATTENTION_SCALAR: Codec = Codec {
    read: |value| {
        let scalar = value.as_f64().filter(|scalar| *scalar > 0.0);
        let scalar = scalar.ok_or_else(|| format!("is {value}; it should be above 0"))?;
        Ok(scalar.powf(-0.5).into())
    },
    write: |scale| {
        let Some(scale) = scale.as_f64() else { return Value::Null };
        let scalar = scale.powi(-2);
        // The shortest number whose root it is.
        let short = |digits: usize| format!("{scalar:.digits$e}").parse::<f64>().ok();
        let exact = |scalar: &f64| scalar.powf(-0.5) == scale;
        let scalar = (0..17).filter_map(short).find(exact).unwrap_or(scalar);
        match scalar.fract() == 0.0 && scalar < 1e15 {
            true => (scalar as u64).into(),
            false => scalar.into(),
        }
    },
};

/// The types that weights are trained in. Another says how they are packed, which the weights say.
const DTYPE: Codec = Codec {
    read: |value| {
        let name = value.as_str().ok_or_else(|| format!("is {value}; it should be a text"))?;
        let known = ["float64", "float32", "float16", "bfloat16"].contains(&name);
        Ok(if known { name.into() } else { Value::Null })
    },
    write: Value::clone,
};

/// The width of the model over the number of query heads: `kv_channels` of a file that does not say
/// it.
pub fn head_size(model: &Map<String, Value>) -> Value {
    let size = |name: &str| model.get(name).and_then(Value::as_u64).unwrap_or(0);
    (size("hidden_size") / size("num_attention_heads").max(1)).into()
}

/// See [`vocab_divisor`].
fn divisor(model: &Map<String, Value>) -> Value {
    let tokens = model.get("vocab_size").and_then(Value::as_u64).unwrap_or(1);
    usize::try_from(tokens).map_or(1, vocab_divisor).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scalar_comes_back_from_its_root() {
        let whole = (1..2000u64).map(Value::from);
        let others = [json!(0.5), json!(40.5), json!(1e-3), json!(224.0625), json!(1.1)];
        for scalar in whole.chain(others) {
            let scale = (PRE_ATTENTION_SCALAR.read)(&scalar).unwrap();
            assert_eq!((PRE_ATTENTION_SCALAR.write)(&scale), scalar, "{scale}");
        }
        for none in [json!(0), json!(-1), json!("x")] {
            assert!((PRE_ATTENTION_SCALAR.read)(&none).is_err(), "{none}");
        }
    }
}

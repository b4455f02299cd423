//! What the decoder-only families share: Megatron's config, and its rows.

use crate::checkpoint::Fields;
use crate::mapping::Mapping;
use crate::{mapping, ops};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The config of a decoder-only model, with Megatron-core's names as NeMo 2 writes them into
/// `model.yaml`.
///
/// Sizes count elements. [`check`](GptConfig::check) bounds them, so that shapes computed from
/// them cannot overflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GptConfig {
    /// The number of transformer layers.
    pub num_layers: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The inner width of the MLP.
    pub ffn_hidden_size: usize,
    /// The number of query heads.
    pub num_attention_heads: usize,
    /// The number of key/value heads: each serves one group of query heads.
    pub num_query_groups: usize,
    /// The size of a head.
    pub kv_channels: usize,
    /// The longest sequence the model is for (`max_position_embeddings`).
    pub seq_length: usize,
    /// The number of tokens in the vocabulary, without padding.
    pub vocab_size: usize,
    /// The vocabulary's rows are padded to a multiple of this.
    pub make_vocab_size_divisible_by: usize,
    /// Whether the output layer is the embedding (`tie_word_embeddings`).
    pub share_embeddings_and_output_weights: bool,
    /// Whether the four projections of attention have biases (`attention_bias`).
    pub attention_bias: bool,
    /// Whether the projections of the MLP have biases (`mlp_bias`).
    pub mlp_bias: bool,
    /// The `eps` of the norms.
    pub layernorm_epsilon: f64,
    /// The norm: `RMSNorm`.
    pub normalization: String,
    /// The MLP's activation, the first factor of a gated linear unit: `silu`.
    pub activation_func: String,
    /// Whether the MLP is a gated linear unit.
    pub gated_linear_unit: bool,
    /// How positions are told: `rope`.
    pub position_embedding_type: String,
    /// The base of the rotary embedding's frequencies (`rope_theta`).
    pub rotary_base: f64,
    /// How the rotary frequencies are stretched for long sequences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// The standard deviation with which weights are initialised.
    pub init_method_std: f64,
    /// The type of the weights as the source names it, `bfloat16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_dtype: Option<String>,
}

/// How rotary frequencies are stretched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum RopeScaling {
    /// All frequencies divided by a factor.
    Linear {
        /// The factor.
        scale_factor: f64,
    },
    /// Llama 3.1: low frequencies divided by a factor, high ones kept, a ramp between.
    Llama3 {
        /// The factor.
        scale_factor: f64,
        /// Wavelengths longer than `old_context_len` over this are stretched.
        low_freq_factor: f64,
        /// Wavelengths shorter than `old_context_len` over this are kept.
        high_freq_factor: f64,
        /// The sequence length before stretching (`original_max_position_embeddings`).
        old_context_len: usize,
    },
}

/// The largest size that a config may name. Products of three of them fit in 64 bits twice over.
const LARGEST: usize = 1 << 20;
/// The most layers. Each is planned, so that a hostile number costs time and memory; the deepest
/// models have about 130.
const MOST_LAYERS: usize = 1 << 12;

/// The longest sequence that a config may name.
const LONGEST: usize = 1 << 31;

impl GptConfig {
    /// The rows of the embedding: the vocabulary, padded.
    pub fn vocab_rows(&self) -> usize {
        self.vocab_size.next_multiple_of(self.make_vocab_size_divisible_by.max(1))
    }

    /// The rows of `linear_qkv`: for each group its query heads, its key head, its value head.
    pub fn qkv_rows(&self) -> usize {
        (self.num_attention_heads + 2 * self.num_query_groups) * self.kv_channels
    }

    /// The columns of `linear_proj`: all query heads.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.kv_channels
    }

    /// Records what makes no model: sizes of zero or beyond reason, heads that groups cannot
    /// share. The names are those of the HF config.
    pub fn check(&self, fields: &Fields<'_>) {
        for (name, size, largest) in [
            ("num_hidden_layers", self.num_layers, MOST_LAYERS),
            ("hidden_size", self.hidden_size, LARGEST),
            ("intermediate_size", self.ffn_hidden_size, LARGEST),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("num_key_value_heads", self.num_query_groups, LARGEST),
            ("head_dim", self.kv_channels, LARGEST),
            ("vocab_size", self.vocab_size, LARGEST),
        ] {
            // Where an absent field follows from others, their being zero is the news.
            let nothing = self.hidden_size == 0 || self.num_attention_heads == 0;
            let follows = nothing && fields.raw(name).is_none();
            if (size == 0 || size > largest) && !follows {
                fields.malformed(name, format!("is {size}; it should be from 1 to {largest}"));
            }
        }
        if self.seq_length == 0 || self.seq_length > LONGEST {
            let problem = format!("is {}; it should be from 1 to {LONGEST}", self.seq_length);
            fields.malformed("max_position_embeddings", problem);
        }
        if !(self.layernorm_epsilon >= 0.0 && self.layernorm_epsilon < 1.0) {
            let problem = format!("is {}; it should be from 0 to 1", self.layernorm_epsilon);
            fields.malformed("rms_norm_eps", problem);
        }
        let (heads, groups) = (self.num_attention_heads, self.num_query_groups);
        if groups != 0 && heads % groups != 0 {
            let problem =
                format!("is {groups}, which does not divide num_attention_heads, {heads}");
            fields.malformed("num_key_value_heads", problem);
        }
    }
}

/// The largest power of two up to 128 that divides the vocabulary, so that no rows are added: what
/// NeMo's importers choose.
pub fn vocab_divisor(vocab_size: usize) -> usize {
    1 << vocab_size.trailing_zeros().min(7)
}

/// The rotary embedding's base and scaling, from either spelling: `rope_theta` and `rope_scaling`
/// (transformers 4), or `rope_parameters` (transformers 5, which also takes `rope_scaling` for it).
pub fn rope(fields: &Fields<'_>, default_base: f64) -> (f64, Option<RopeScaling>) {
    let base = rope_base(fields, default_base);
    settle_other_spelling(fields);
    let in_use = |name: &&str| fields.raw(name).is_some_and(|value| !value.is_null());
    let Some(object) = ["rope_parameters", "rope_scaling"].into_iter().find(in_use) else {
        fields.neutral("rope_scaling", &[]);
        return (base, None);
    };
    let Some(all) = fields.raw(object).and_then(Value::as_object) else {
        fields.malformed(object, "is not an object");
        return (base, None);
    };
    let name = |field: &str| format!("{object}.{field}");
    // `type` is the older name; a file with both is for old and new readers.
    let kind: Option<String> = fields.optional(&name("rope_type"));
    let old_kind: Option<String> = fields.optional(&name("type"));
    if let (Some(kind), Some(old)) = (&kind, &old_kind)
        && kind != old
    {
        fields.refuse(&name("type"), format!("is \"{old}\", but \"rope_type\" is \"{kind}\""));
    }
    let positive = |field: &str| {
        let value = fields.required::<f64>(&name(field));
        if !(value > 0.0 && value.is_finite()) {
            fields.malformed(&name(field), format!("is {value}; it should be above 0"));
        }
        value
    };
    let scaling = match kind.or(old_kind).as_deref() {
        None | Some("default") => None,
        Some("linear") => {
            // Kept by conversions that know it; the computation does not.
            fields.optional::<Value>(&name("original_max_position_embeddings"));
            Some(RopeScaling::Linear { scale_factor: positive("factor") })
        }
        Some("llama3") => {
            let (low, high) = (positive("low_freq_factor"), positive("high_freq_factor"));
            if low >= high {
                let problem = format!("is {low}; it should be below high_freq_factor, {high}");
                fields.malformed(&name("low_freq_factor"), problem);
            }
            Some(RopeScaling::Llama3 {
                scale_factor: positive("factor"),
                low_freq_factor: low,
                high_freq_factor: high,
                old_context_len: fields.required(&name("original_max_position_embeddings")),
            })
        }
        Some(other) => {
            let problem =
                format!("is \"{other}\"; this importer knows \"llama3\", \"linear\", \"default\"");
            fields.refuse(&name("rope_type"), problem);
            // What the other fields mean, only that kind says.
            return (base, None);
        }
    };
    // Any field beside those of the kind is one that this kind does not have.
    for field in all.keys().filter(|field| !fields.is_read(&name(field))) {
        fields.neutral(&name(field), &[json!(1.0), json!(1)]);
    }
    (base, scaling)
}

/// `rope_theta`, which may stand in three places and must be the same in all of them.
fn rope_base(fields: &Fields<'_>, default_base: f64) -> f64 {
    const PLACES: [&str; 3] =
        ["rope_parameters.rope_theta", "rope_scaling.rope_theta", "rope_theta"];
    let found = PLACES.map(|place| (place, fields.optional::<f64>(place)));
    let mut found = found.into_iter().filter_map(|(place, base)| Some((place, base?)));
    let Some((first, base)) = found.next() else {
        fields.defaulted("rope_theta", &default_base);
        return default_base;
    };
    for (place, other) in found.filter(|(_, other)| *other != base) {
        fields.refuse(place, format!("is {other}, but \"{first}\" is {base}"));
    }
    if !(base > 0.0 && base.is_finite()) {
        fields.malformed(first, format!("is {base}; it should be above 0"));
    }
    base
}

/// A config may have both spellings, for old and new readers, as long as they say the same.
fn settle_other_spelling(fields: &Fields<'_>) {
    let Some(new) = fields.raw("rope_parameters").and_then(Value::as_object) else { return };
    let old = fields.raw("rope_scaling").and_then(Value::as_object);
    for field in old.into_iter().flat_map(|old| old.keys()) {
        // `type` is the older name.
        let same = new.get(if field == "type" { "rope_type" } else { field });
        fields
            .neutral(&format!("rope_scaling.{field}"), same.map_or(&[][..], std::slice::from_ref));
    }
}

/// `rope_scaling` as transformers 4 reads it; every transformers reads this spelling.
pub fn rope_scaling_json(scaling: &RopeScaling) -> Value {
    match scaling {
        RopeScaling::Linear { scale_factor } => {
            json!({"rope_type": "linear", "factor": scale_factor})
        }
        RopeScaling::Llama3 {
            scale_factor,
            low_freq_factor,
            high_freq_factor,
            old_context_len,
        } => {
            json!({
                "rope_type": "llama3",
                "factor": scale_factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": old_context_len,
            })
        }
    }
}

/// The fields of an HF config that all decoder-only families spell alike.
pub fn common_json(config: &GptConfig) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
    put("num_hidden_layers", json!(config.num_layers));
    put("hidden_size", json!(config.hidden_size));
    put("intermediate_size", json!(config.ffn_hidden_size));
    put("num_attention_heads", json!(config.num_attention_heads));
    put("num_key_value_heads", json!(config.num_query_groups));
    put("head_dim", json!(config.kv_channels));
    put("max_position_embeddings", json!(config.seq_length));
    put("vocab_size", json!(config.vocab_size));
    put("tie_word_embeddings", json!(config.share_embeddings_and_output_weights));
    put("rms_norm_eps", json!(config.layernorm_epsilon));
    put("hidden_act", json!(config.activation_func));
    put("initializer_range", json!(config.init_method_std));
    put("rope_theta", json!(config.rotary_base));
    put("rope_scaling", config.rope_scaling.as_ref().map_or(Value::Null, rope_scaling_json));
    if let Some(dtype) = &config.params_dtype {
        put("torch_dtype", json!(dtype));
    }
    fields
}

/// Attention of one layer: the norm before it, q, k and v by query group, the projection after.
pub const ATTENTION: Mapping = mapping! {
    "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
    (
        "self_attn.q_proj.{p:weight|bias}",
        "self_attn.k_proj.{p:weight|bias}",
        "self_attn.v_proj.{p:weight|bias}",
    ) => "self_attention.linear_qkv.{p}" via ops::merge_qkv,
    "self_attn.o_proj.{p:weight|bias}" => "self_attention.linear_proj.{p}",
    // Old checkpoints store the rotary frequencies, which follow from the config.
    ignore "self_attn.rotary_emb.{buffer:inv_freq|cos_cached|sin_cached}",
};

/// The gated MLP of one layer: the norm before it, gate over up, down.
pub const GATED_MLP: Mapping = mapping! {
    "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
    ("mlp.gate_proj.{p:weight|bias}", "mlp.up_proj.{p:weight|bias}") => "mlp.linear_fc1.{p}"
        via ops::merge_fc1,
    "mlp.down_proj.{p:weight|bias}" => "mlp.linear_fc2.{p}",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_not_padded_by_default() {
        for (vocab, want) in [(32000, 128), (97, 1), (128256, 128), (32002, 2), (160, 32)] {
            assert_eq!(vocab_divisor(vocab), want, "{vocab}");
        }
    }
}

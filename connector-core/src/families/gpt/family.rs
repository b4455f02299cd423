//! A family's `config.json`, read and written.

use super::config::{GptConfig, vocab_divisor};
use super::rope::{rope, rope_parameters, rope_scaling};
use crate::Result;
use crate::checkpoint::{Checkpoint, Fields};
use serde_json::{Map, Value, json};

/// How the `config.json` of one architecture says what a [`GptConfig`] says.
///
/// Reading and writing are one table each. Export holds the two against each other: what is written
/// is read again, and must mean the same model.
#[derive(Debug)]
pub struct Family {
    /// The name in `architectures`.
    pub architecture: &'static str,
    /// The `model_type`.
    pub model_type: &'static str,
    /// What a file means that leaves fields out.
    pub defaults: Defaults,
    /// Reads the fields that are its own, its activation among them.
    pub read: fn(&Fields<'_>, &mut GptConfig),
    /// Writes them.
    pub write: fn(&GptConfig, &mut Map<String, Value>),
    /// Fields that read like ones that change what the model computes, and do not.
    pub harmless: &'static [&'static str],
}

/// What a `config.json` means that does not have these fields: the defaults of the config's class
/// in transformers.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// `num_key_value_heads`; `None` for as many as query heads, which null means in every family.
    pub num_query_groups: Option<usize>,
    /// `head_dim`; `None` for the width of the model over the number of query heads.
    pub kv_channels: Option<usize>,
    /// `max_position_embeddings`.
    pub seq_length: usize,
    /// `rms_norm_eps`.
    pub layernorm_epsilon: f64,
    /// `rope_theta`.
    pub rotary_base: f64,
    /// `tie_word_embeddings`.
    pub tied: bool,
}

/// How transformers 4 and 5 spell what they spell differently.
#[derive(Clone, Copy)]
struct Spelling {
    /// `rope_parameters` for `rope_theta` and `rope_scaling`.
    rope_parameters: bool,
    /// `dtype` for `torch_dtype`.
    dtype: bool,
}

impl Family {
    /// The model's config, from `config.json` in either spelling.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if a field without which there is no config is missing or malformed.
    /// Fields that change what the model computes, and that are not understood, are recorded in
    /// `source` and refused by the plan.
    pub fn config(&self, source: &Checkpoint) -> Result<GptConfig> {
        let fields = source.fields();
        let config = self.read_all(&fields);
        fields.finish()?;
        Ok(config)
    }

    /// `config.json`, from the model's config: every field that the config knows, in the spelling of
    /// `original`, transformers 4's or 5's. Without it in that of transformers 4, which all versions
    /// read.
    pub fn source_config(&self, config: &GptConfig, original: Option<&Value>) -> Value {
        Value::Object(self.write_all(config, original.map_or(Spelling::OLD, Spelling::of)))
    }

    fn read_all(&self, fields: &Fields<'_>) -> GptConfig {
        let Defaults { num_query_groups, kv_channels, seq_length, layernorm_epsilon, .. } =
            self.defaults;
        let (hidden_size, heads) =
            (fields.required("hidden_size"), fields.required::<usize>("num_attention_heads"));
        let (rotary_base, rope_scaling) = rope(fields, self.defaults.rotary_base);
        let vocab_size = fields.required("vocab_size");
        let groups = match fields.raw("num_key_value_heads") {
            None => num_query_groups.unwrap_or(heads),
            Some(_) => heads,
        };
        let mut config = GptConfig {
            num_layers: fields.required("num_hidden_layers"),
            hidden_size,
            ffn_hidden_size: fields.required("intermediate_size"),
            num_attention_heads: heads,
            num_query_groups: fields.or("num_key_value_heads", groups),
            kv_channels: fields.or("head_dim", kv_channels.unwrap_or(hidden_size / heads.max(1))),
            seq_length: fields.or("max_position_embeddings", seq_length),
            vocab_size,
            make_vocab_size_divisible_by: vocab_divisor(vocab_size),
            share_embeddings_and_output_weights: fields
                .or("tie_word_embeddings", self.defaults.tied),
            layernorm_epsilon: fields.or("rms_norm_eps", layernorm_epsilon),
            rotary_base,
            rope_scaling,
            init_method_std: fields.or("initializer_range", 0.02),
            params_dtype: fields
                .first::<String>(&["dtype", "torch_dtype"])
                .filter(|name| ["float64", "float32", "float16", "bfloat16"].contains(&&**name)),
            ..GptConfig::empty()
        };
        (self.read)(fields, &mut config);
        // A fork that keeps the architecture's name may be another model.
        fields.neutral("model_type", &[json!(self.model_type)]);
        fields.neutral("partial_rotary_factor", &[json!(1.0), json!(1)]);
        fields.neutral("quantization_config", &[]);
        fields.settle_rest(self.harmless);
        config.check(fields);
        config
    }

    fn write_all(&self, config: &GptConfig, spelling: Spelling) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
        put("architectures", json!([self.architecture]));
        put("model_type", json!(self.model_type));
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
        if spelling.rope_parameters {
            put("rope_parameters", rope_parameters(config.rotary_base, &config.rope_scaling));
        } else {
            put("rope_theta", json!(config.rotary_base));
            put("rope_scaling", rope_scaling(&config.rope_scaling));
        }
        if let Some(dtype) = &config.params_dtype {
            put(if spelling.dtype { "dtype" } else { "torch_dtype" }, json!(dtype));
        }
        (self.write)(config, &mut fields);
        fields
    }
}

impl Spelling {
    const OLD: Spelling = Spelling { rope_parameters: false, dtype: false };

    fn of(config: &Value) -> Self {
        let has = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
        Spelling { rope_parameters: has("rope_parameters"), dtype: has("dtype") }
    }
}

/// The activation of a family that has no other: `silu`.
pub fn silu(fields: &Fields<'_>) -> String {
    fields.neutral("hidden_act", &[json!("silu"), json!("swish")]);
    "silu".into()
}

//! A model's config in the fields of Megatron-core's `TransformerConfig` and `GPTModel`.

use super::python::Python;
use serde_json::Value;

/// Fields that are called the same in the model's config, and must be there.
const SAME: [&str; 17] = [
    "num_layers",
    "hidden_size",
    "ffn_hidden_size",
    "num_attention_heads",
    "num_query_groups",
    "kv_channels",
    "layernorm_epsilon",
    "normalization",
    "gated_linear_unit",
    "init_method_std",
    "share_embeddings_and_output_weights",
    "make_vocab_size_divisible_by",
    "position_embedding_type",
    "rotary_base",
    "seq_length",
    "vocab_size",
    "activation_func",
];

/// The same for models with experts.
const OF_EXPERTS: [&str; 7] = [
    "num_moe_experts",
    "moe_ffn_hidden_size",
    "moe_router_topk",
    "moe_router_pre_softmax",
    "moe_router_load_balancing_type",
    "moe_aux_loss_coeff",
    "moe_grouped_gemm",
];

/// The config of a model with the architecture of GPT.
pub(super) struct Megatron<'a> {
    config: &'a Value,
}

/// A field and its value.
pub(super) type Field = (&'static str, Python);

/// Llama 3.1's scaling of rotary frequencies.
pub(super) struct Llama3<'a> {
    fields: &'a Value,
}

impl<'a> Megatron<'a> {
    /// `Err` has the first field that is not there: then it is not such a model.
    pub fn new(config: &'a Value) -> Result<Self, &'static str> {
        match SAME.into_iter().find(|name| config.get(name).is_none()) {
            Some(missing) => Err(missing),
            None => Ok(Megatron { config }),
        }
    }

    /// A field that is not null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.config.get(name).filter(|value| !value.is_null())
    }

    pub fn python(&self, name: &str) -> Python {
        self.get(name).map_or(Python::None, Python::from)
    }

    pub fn is(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub fn count(&self, name: &str) -> u64 {
        self.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// The rows of the embedding, padded.
    pub fn vocab_rows(&self) -> u64 {
        let divisor = self.count("make_vocab_size_divisible_by").max(1);
        self.count("vocab_size").checked_next_multiple_of(divisor).unwrap_or(0)
    }

    /// Whether the linear layers of a block have biases: one field for those of attention and of the
    /// MLP, which [`unsaid`](Self::unsaid) tells apart.
    pub fn add_bias_linear(&self) -> bool {
        self.is("attention_bias") || self.is("mlp_bias")
    }

    /// The fields that NeMo and Megatron-Bridge have in common. `activations` are the paths of the
    /// functions by the names that they have in the model's config.
    pub fn fields(&self, activations: &[(&str, &str)]) -> Vec<Field> {
        let mut fields = self.dtype();
        let same = SAME.into_iter().filter(|name| *name != "activation_func");
        fields.extend(same.map(|name| (name, self.python(name))));
        if let Some(path) = self.activation(activations) {
            fields.push(("activation_func", Python::name(path)));
        }
        fields.push(("add_bias_linear", Python::Bool(self.add_bias_linear())));
        const ZERO_CENTRED: &str = "layernorm_zero_centered_gamma";
        fields.push((ZERO_CENTRED, Python::Bool(self.is(ZERO_CENTRED))));
        fields.push(("window_size", self.window_size()));
        fields.push(("cp_comm_type", self.cp_comm_type()));
        if let Some(factor) = self.linear_rope() {
            fields.push(("seq_len_interpolation_factor", Python::from(factor)));
        }
        fields.extend(self.experts());
        fields
    }

    /// The fields of experts; none for a dense model.
    pub fn experts(&self) -> Vec<Field> {
        if self.get("num_moe_experts").is_none() {
            return Vec::new();
        }
        let mut fields: Vec<Field> = OF_EXPERTS.map(|name| (name, self.python(name))).into();
        // Noise of the width 0 is no noise, and Megatron-core's sampling refuses it.
        let eps = self.get("moe_input_jitter_eps").filter(|eps| eps.as_f64() != Some(0.0));
        fields.push(("moe_input_jitter_eps", eps.map_or(Python::None, Python::from)));
        fields
    }

    /// `fp16`, `bf16` and the type of the weights; nothing if the config does not name one.
    pub fn dtype(&self) -> Vec<Field> {
        let Some(dtype) = self.text("params_dtype") else { return Vec::new() };
        vec![
            ("fp16", Python::Bool(dtype == "float16")),
            ("bf16", Python::Bool(dtype == "bfloat16")),
            ("params_dtype", Python::name(&format!("torch.{dtype}"))),
        ]
    }

    pub fn window_size(&self) -> Python {
        let window = self.get("window_size").and_then(Value::as_array);
        window.map_or(Python::None, |sides| Python::Tuple(sides.iter().map(Python::from).collect()))
    }

    /// How ranks share a long sequence: of the ways the one that knows windows, or the default.
    pub fn cp_comm_type(&self) -> Python {
        self.get("window_size").map_or(Python::None, |_| Python::text("a2a"))
    }

    fn activation<'p>(&self, activations: &[(&str, &'p str)]) -> Option<&'p str> {
        let name = self.text("activation_func")?;
        activations.iter().find(|known| known.0 == name).map(|known| known.1)
    }

    fn rope(&self, kind: &str) -> Option<&'a Value> {
        self.get("rope_scaling").filter(|scaling| scaling["rope_type"] == kind)
    }

    /// The factor by which all rotary frequencies are divided.
    pub fn linear_rope(&self) -> Option<&'a Value> {
        self.rope("linear")?.get("scale_factor")
    }

    pub fn llama3_rope(&self) -> Option<Llama3<'a>> {
        self.rope("llama3").map(|fields| Llama3 { fields })
    }

    /// What every framework's config cannot say, because Megatron-core's cannot.
    pub fn unsaid(&self, activations: &[(&str, &str)]) -> Vec<String> {
        let mut unsaid = Vec::new();
        if self.is("attention_bias") != self.is("mlp_bias") && self.get("mlp_bias").is_some() {
            let (with, without) =
                if self.is("mlp_bias") { ("MLP", "attention") } else { ("attention", "MLP") };
            unsaid.push(format!("biases in the {with} and none in the {without}"));
        }
        if self.activation(activations).is_none() {
            let name = self.text("activation_func").unwrap_or_default();
            unsaid.push(format!("the activation {name}"));
        }
        unsaid
    }
}

impl Llama3<'_> {
    pub fn python(&self, name: &str) -> Python {
        Python::from(&self.fields[name])
    }

    /// What Megatron-core's own scaling, which Megatron-LM and Megatron-Bridge use, cannot say: it
    /// takes a factor and has constants for all else (`RotaryEmbedding._apply_scaling`).
    pub fn unsaid(&self) -> Option<String> {
        let number = |name: &str| self.fields[name].as_f64();
        let names = ["low_freq_factor", "high_freq_factor", "old_context_len"];
        let found = names.map(number);
        (found != [1.0, 4.0, 8192.0].map(Some)).then(|| {
            let [low, high, len] = found.map(Option::unwrap_or_default);
            format!(
                "rotary scaling with the factors {low} and {high} and a context of {len} (only 1, 4 \
                 and 8192)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ACTIVATIONS: [(&str, &str); 1] = [("silu", "torch.nn.functional.silu")];

    fn config(change: Value) -> Value {
        let mut config = json!({
            "num_layers": 2, "hidden_size": 48, "ffn_hidden_size": 80, "num_attention_heads": 6,
            "num_query_groups": 2, "kv_channels": 8, "seq_length": 256, "vocab_size": 97,
            "make_vocab_size_divisible_by": 32, "share_embeddings_and_output_weights": false,
            "attention_bias": false, "mlp_bias": false, "layernorm_epsilon": 1e-5,
            "normalization": "RMSNorm", "gated_linear_unit": true, "rotary_base": 1e4,
            "position_embedding_type": "rope", "init_method_std": 0.02, "activation_func": "silu",
        });
        let changes = change.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(changes);
        config
    }

    #[test]
    fn fields_follow_from_the_models_config() {
        let experts = json!({"num_moe_experts": 4, "moe_input_jitter_eps": 0.0});
        let noisy = json!({"num_moe_experts": 4, "moe_input_jitter_eps": 0.5});
        let window = Python::Tuple(vec![Python::Int(31), Python::Int(0)]);
        let linear = json!({"rope_scaling": {"rope_type": "linear", "scale_factor": 2.0}});
        for (change, field, want) in [
            (json!({}), "hidden_size", Some(Python::Int(48))),
            (json!({}), "activation_func", Some(Python::name("torch.nn.functional.silu"))),
            (json!({}), "add_bias_linear", Some(Python::Bool(false))),
            (json!({}), "window_size", Some(Python::None)),
            (json!({}), "params_dtype", None),
            (json!({}), "num_moe_experts", None),
            (json!({"attention_bias": true}), "add_bias_linear", Some(Python::Bool(true))),
            (json!({"params_dtype": "float16"}), "fp16", Some(Python::Bool(true))),
            (json!({"params_dtype": "float16"}), "bf16", Some(Python::Bool(false))),
            (json!({"window_size": [31, 0]}), "window_size", Some(window)),
            (json!({"window_size": [31, 0]}), "cp_comm_type", Some(Python::text("a2a"))),
            (linear, "seq_len_interpolation_factor", Some(Python::Float(2.0))),
            (experts, "moe_input_jitter_eps", Some(Python::None)),
            (noisy, "moe_input_jitter_eps", Some(Python::Float(0.5))),
        ] {
            let config = config(change.clone());
            let fields = Megatron::new(&config).unwrap().fields(&ACTIVATIONS);
            let found = fields.into_iter().find(|(name, _)| *name == field).map(|found| found.1);
            assert_eq!(found, want, "{change}: {field}");
        }
        assert_eq!(Megatron::new(&config(json!({}))).unwrap().vocab_rows(), 128);
        assert_eq!(Megatron::new(&json!({"num_layers": 2})).err(), Some("hidden_size"));
    }

    #[test]
    fn what_no_field_says_is_listed() {
        for (change, want) in [
            (json!({}), &[][..]),
            (json!({"attention_bias": true, "mlp_bias": true}), &[]),
            (json!({"attention_bias": true}), &["biases in the attention and none in the MLP"]),
            (json!({"activation_func": "gelu"}), &["the activation gelu"]),
        ] {
            let config = config(change.clone());
            assert_eq!(Megatron::new(&config).unwrap().unsaid(&ACTIVATIONS), want, "{change}");
        }
        for (low, length, fits) in [(1.0, 8192, true), (2.0, 8192, false), (1.0, 64, false)] {
            let scaling = json!({"rope_scaling": {
                "rope_type": "llama3", "scale_factor": 8.0, "low_freq_factor": low,
                "high_freq_factor": 4.0, "old_context_len": length,
            }});
            let config = config(scaling);
            let model = Megatron::new(&config).unwrap();
            assert_eq!(model.llama3_rope().unwrap().unsaid().is_none(), fits, "{low} {length}");
        }
    }
}

//! A model's config in the fields of Megatron-core's `TransformerConfig` and `GPTModel`.

use super::python::Python;
use super::{Frameworks, OwnField, activation};
use crate::checkpoint::Flavor;
use crate::config::{Args, ConfigFields, Field as Declared, Scalar};
use crate::gpt::{GptConfig, is_of_experts};
use serde_json::Value;

/// The config of a model with the architecture of GPT.
pub(super) struct Megatron<'a> {
    config: &'a Value,
}

/// A field and its value.
pub(super) type Field = (&'static str, Python);

/// Fields that older releases of Megatron-core do not have, and those that only mixtures of a few
/// families need: left out where they are as Megatron-core has them, so that these releases, and
/// classes without them, take the config.
const YOUNG: [&str; 15] = [
    "activation_func_clamp_value",
    "glu_linear_offset",
    "moe_apply_probs_on_input",
    "moe_router_enable_expert_bias",
    "moe_router_group_topk",
    "moe_router_num_groups",
    "moe_router_score_function",
    "moe_router_topk_scaling_factor",
    "moe_shared_expert_gate",
    "moe_shared_expert_intermediate_size",
    "no_rope_freq",
    "qk_l2_norm",
    "softmax_scale",
    "softmax_type",
    "window_attn_skip_freq",
];

/// Megatron-core's function that makes each layer as the config says, dense or with experts.
pub(super) const LAYERS: &str =
    "megatron.core.models.gpt.gpt_layer_specs.get_gpt_decoder_block_spec";

/// Llama 3.1's scaling of rotary frequencies.
pub(super) struct Llama3<'a> {
    fields: &'a Value,
}

impl<'a> Megatron<'a> {
    /// `Err` has the first field that is not there: then it is not such a model.
    pub fn new(config: &'a Value) -> Result<Self, &'static str> {
        let mut needed = GptConfig::FIELDS.iter().filter(|field| field.core.is_none());
        match needed.find(|field| config.get(field.name).is_none()) {
            Some(missing) => Err(missing.name),
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

    /// The fields that NeMo and Megatron-Bridge have in common, and those of `own` that only their
    /// classes for a family have.
    pub fn fields(&self, flavor: Flavor, own: &[OwnField]) -> Vec<Field> {
        let mut fields = self.dtype();
        for field in GptConfig::FIELDS {
            match field.name {
                "activation_func" => {
                    let path = self.activation(flavor);
                    fields.extend(path.map(|path| (field.name, Python::name(path))));
                }
                // One field for the biases of attention and the MLP.
                "attention_bias" => {
                    fields.push(("add_bias_linear", Python::Bool(self.add_bias_linear())));
                }
                // Those of each framework's own.
                "mlp_bias" | "rope_scaling" | "params_dtype" => {}
                name if matches!(field.args, Args::Unsaid(_))
                    || own.iter().any(|own| own.model == name) => {}
                name if YOUNG.contains(&name) && self.get(name).is_none() => {}
                name => fields.extend(self.value(field).map(|value| (name, value))),
            }
        }
        fields.extend(own.iter().map(|own| {
            let declared = GptConfig::FIELDS.iter().find(|field| field.name == own.model);
            let core = declared.and_then(|field| field.core).map_or(Value::Null, Scalar::value);
            let value = self.get(own.model).unwrap_or(&core);
            let value = own.via.map_or_else(|| value.clone(), |via| (via.write)(value));
            (own.name, Python::from(&value))
        }));
        fields.push(("cp_comm_type", self.cp_comm_type()));
        // NeMo's classes fuse where they are not told otherwise.
        if !self.fuses_activation() {
            fields.push(("bias_activation_fusion", Python::Bool(false)));
        }
        if let Some(factor) = self.linear_rope() {
            fields.push(("seq_len_interpolation_factor", Python::from(factor)));
        }
        fields
    }

    /// The arguments of [`LAYERS`], where NeMo's and Megatron-Bridge's classes for models of layers
    /// that are all alike do not do: `own` says what a family has of its own.
    pub fn layer_spec(&self, own: Option<&Frameworks>) -> Option<Vec<(&'static str, bool)>> {
        let layers = self.get("moe_layer_freq").and_then(Value::as_array);
        let differ = layers.is_some_and(|layers| layers.iter().any(|kind| *kind != 1));
        let l2_norm = self.is("qk_l2_norm");
        let needed = (differ || l2_norm) && !own.is_some_and(|own| own.own_layers);
        needed.then(|| vec![("use_transformer_engine", true), ("qk_l2_norm", l2_norm)])
    }

    /// Whether Megatron-core's kernels that fuse a bias and an activation compute this one: for `gelu`
    /// they take its approximation, and others are refused.
    pub fn fuses_activation(&self) -> bool {
        self.is("gated_linear_unit")
            && matches!(self.text("activation_func"), Some("silu" | "quick_gelu"))
    }

    /// The arguments of Megatron-LM that say one field each.
    pub fn arguments(&self) -> Vec<Field> {
        let argument = |field: &'static Declared| {
            // A dense model has those of experts too, as Megatron-LM's own runs do.
            let core = || field.core.map(|core| Python::from(&core.value()));
            let value = self.value(field).or_else(core)?;
            match (field.args, value) {
                (Args::Same, value) => Some((field.name, value)),
                (Args::As(name), value) => Some((name, value)),
                (Args::Not(name), Python::Bool(on)) => Some((name, Python::Bool(!on))),
                _ => None,
            }
        };
        GptConfig::FIELDS.iter().filter_map(argument).collect()
    }

    /// A field's value, Megatron-core's default where the model's config has none; `None` for the
    /// fields of experts of a dense model.
    fn value(&self, field: &Declared) -> Option<Python> {
        let of_experts = is_of_experts(field.name) && self.get("num_moe_experts").is_none();
        match (self.get(field.name), field.core) {
            _ if of_experts => None,
            (Some(_), _) if field.name == "window_size" => Some(self.window_size()),
            (Some(value), _) => Some(Python::from(value)),
            (None, Some(core)) => Some(Python::from(&core.value())),
            (None, None) => Some(Python::None),
        }
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

    /// What a framework calls the activation.
    pub fn activation(&self, flavor: Flavor) -> Option<&'static str> {
        activation::written(self.text("activation_func")?, self.is("gated_linear_unit"), flavor)
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
}

impl Llama3<'_> {
    pub fn python(&self, name: &str) -> Python {
        Python::from(&self.fields[name])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A config of a small Llama, with a change.
    pub fn config(change: Value) -> Value {
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
        let experts = json!({"num_moe_experts": 4});
        let noisy = json!({"num_moe_experts": 4, "moe_input_jitter_eps": 0.5});
        let window = Python::Tuple(vec![Python::Int(31), Python::Int(0)]);
        let linear = json!({"rope_scaling": {"rope_type": "linear", "scale_factor": 2.0}});
        for (change, field, want) in [
            (json!({}), "hidden_size", Some(Python::Int(48))),
            (json!({}), "activation_func", Some(Python::name("torch.nn.functional.silu"))),
            (json!({}), "add_bias_linear", Some(Python::Bool(false))),
            (json!({}), "window_size", Some(Python::None)),
            (json!({}), "params_dtype", None),
            (json!({}), "num_moe_experts", Some(Python::None)),
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
            let fields = Megatron::new(&config).unwrap().fields(Flavor::Nemo, &[]);
            let found = fields.into_iter().find(|(name, _)| *name == field).map(|found| found.1);
            assert_eq!(found, want, "{change}: {field}");
        }
        assert_eq!(Megatron::new(&config(json!({}))).unwrap().vocab_rows(), 128);
        assert_eq!(Megatron::new(&json!({"num_layers": 2})).err(), Some("hidden_size"));
    }
}

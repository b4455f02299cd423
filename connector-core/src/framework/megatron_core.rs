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
                name if field.args == Args::Unsaid || own.iter().any(|own| own.model == name) => {}
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
        if let Some(factor) = self.linear_rope() {
            fields.push(("seq_len_interpolation_factor", Python::from(factor)));
        }
        fields
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

    /// What a framework's config cannot say: what Megatron-core's cannot, and what its own classes do
    /// otherwise, of which `frameworks` has the value.
    pub fn unsaid(&self, flavor: Flavor, frameworks: Option<&Frameworks>) -> Vec<String> {
        let classes = frameworks.and_then(|frameworks| frameworks.own_of(flavor));
        let mut unsaid = Vec::new();
        if self.is("attention_bias") != self.is("mlp_bias") && self.get("mlp_bias").is_some() {
            let (with, without) =
                if self.is("mlp_bias") { ("MLP", "attention") } else { ("attention", "MLP") };
            unsaid.push(format!("biases in the {with} and none in the {without}"));
        }
        if self.activation(flavor).is_none() {
            let name = self.text("activation_func").unwrap_or_default();
            unsaid.push(format!("the activation {name}"));
        }
        if self.rope("yarn").is_some() {
            unsaid.push("rotary scaling as YaRN".into());
        }
        if self.rope("longrope").is_some() {
            unsaid.push("rotary scaling as LongRoPE".into());
        }
        if self.is("moe_router_enable_expert_bias")
            && self.text("moe_router_score_function") != Some("sigmoid")
        {
            unsaid.push("biases for the choice of experts beside a softmax".into());
        }
        let own = classes.map_or(&[][..], |classes| classes.own);
        for OwnField { name, model, via } in own {
            if let (Some(here), Some(via)) = (self.get(model), via)
                && (via.write)(here).is_null()
            {
                unsaid.push(format!("\"{model}\" is {here}, and \"{name}\" does not say it"));
            }
        }
        for field in GptConfig::FIELDS.iter().filter(|field| field.args == Args::Unsaid) {
            if own.iter().any(|own| own.model == field.name) {
                continue;
            }
            let core = field.core.map_or(Value::Null, Scalar::value);
            let implied = classes.and_then(|classes| classes.implies(field.name));
            let there = implied.map_or(core.clone(), Scalar::value);
            let here = self.get(field.name).unwrap_or(&core);
            if *here != there {
                unsaid.push(format!("\"{}\" is {here}, and there it is {there}", field.name));
            }
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

    #[test]
    fn what_no_field_says_is_listed() {
        for (change, want) in [
            (json!({}), &[][..]),
            (json!({"attention_bias": true, "mlp_bias": true}), &[]),
            (json!({"attention_bias": true}), &["biases in the attention and none in the MLP"]),
            (json!({"activation_func": "gelu"}), &["the activation gelu"]),
            (
                json!({"apply_embedding_scaling": true}),
                &["\"apply_embedding_scaling\" is true, and there it is false"],
            ),
            (
                json!({"num_moe_experts": 4, "moe_router_enable_expert_bias": true}),
                &["biases for the choice of experts beside a softmax"],
            ),
        ] {
            let config = config(change.clone());
            assert_eq!(
                Megatron::new(&config).unwrap().unsaid(Flavor::MegatronLm, None),
                want,
                "{change}"
            );
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

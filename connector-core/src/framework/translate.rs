//! A config as NeMo and Megatron-Bridge write it: every field of Megatron-core's, and Python objects
//! by their paths. From it, the fields of [`GptConfig`].

use super::found::refusal;
use super::without_effect::is_without_effect;
use super::{Frameworks, OwnField, activation};
use crate::base::Finding;
use crate::config::{ConfigFields, Field, Scalar};
use crate::gpt::{ELSEWHERE, GptConfig, is_of_experts};
use serde_json::{Map, Value, json};

/// Megatron-core's default. Only training from the beginning goes by it.
const INIT_METHOD_STD: f64 = 0.02;

/// The most layers for which a list is made.
const MOST_LAYERS: u64 = 1 << 12;

/// Fields that the config of every mixture of experts says, also where they are as Megatron-core has
/// them.
const ALWAYS_SAID: [&str; 6] = [
    "moe_router_topk",
    "moe_router_pre_softmax",
    "moe_router_load_balancing_type",
    "moe_aux_loss_coeff",
    "moe_input_jitter_eps",
    "moe_grouped_gemm",
];

/// Llama 3.1's fields of rotary scaling, which NeMo's `Llama31Config` adds.
const LLAMA3: [&str; 4] =
    ["scale_factor", "low_freq_factor", "high_freq_factor", "old_context_len"];

/// Fields that change what a model computes and that only classes of frameworks have, or that stand in
/// no argument of Megatron-LM, with their values in a model that has no use of them.
const OF_CLASSES: [(&str, Scalar); 7] = [
    ("interleaved_attn_pattern", Scalar::Null),
    ("is_vision_language", Scalar::Bool(false)),
    ("moe_expert_capacity_factor", Scalar::Null),
    ("moe_router_topk_limited_devices", Scalar::Null),
    ("moe_token_dropping", Scalar::Bool(false)),
    ("mrope_section", Scalar::Null),
    ("yarn_rotary_scaling_factor", Scalar::Null),
];

/// Fields that others of the model's config are read from.
const READ_FROM: [&str; 2] = ["add_bias_linear", "seq_len_interpolation_factor"];

/// The fields of a framework's config that no list knows, but for those that say nothing.
pub(super) fn unknown<'a>(config: &'a Value, classes: Option<&Frameworks>) -> Vec<&'a str> {
    let own = classes.map_or(&[][..], |classes| classes.own);
    let also = classes.map_or(&[][..], |classes| classes.nemo.also);
    let is_known = |name: &str| {
        GptConfig::FIELDS.iter().any(|field| field.name == name)
            || ELSEWHERE.iter().chain(&OF_CLASSES).any(|(other, _)| *other == name)
            || own.iter().any(|own| own.name == name)
            || also.iter().any(|(other, _)| *other == name)
            || LLAMA3.contains(&name)
            || READ_FROM.contains(&name)
            || is_without_effect(name)
    };
    let fields = config.as_object().into_iter().flatten();
    let said = fields.filter(|(name, value)| !value.is_null() && !name.starts_with('_'));
    said.map(|(name, _)| name.as_str()).filter(|name| !is_known(name)).collect()
}

/// The config of the families from the fields of a framework's config. What cannot be translated is
/// noted in `findings` with `subject`. `classes` says what the framework's own class for the model
/// implies, and which fields only that has.
pub(super) fn translate(
    config: &Value,
    classes: Option<&Frameworks>,
    subject: &str,
    findings: &mut Vec<Finding>,
) -> Map<String, Value> {
    let mut config = config.clone();
    for own in classes.map_or(&[][..], |classes| classes.own) {
        rename(&mut config, own, subject, findings);
    }
    for (name, value) in classes.map_or(&[][..], |classes| classes.implied) {
        let said = config.get(name).is_some_and(|said| !said.is_null());
        if let (false, Some(fields)) = (said, config.as_object_mut()) {
            fields.insert((*name).into(), value.value());
        }
    }
    let mut translation = Translation { config: &config, subject, findings, fields: Map::new() };
    translation.run();
    translation.fields
}

/// Gives a field that only a framework's class for one family has the name that it has in a model's
/// config.
fn rename(config: &mut Value, own: &OwnField, subject: &str, findings: &mut Vec<Finding>) {
    let Some(value) = config.get(own.name).filter(|value| !value.is_null()).cloned() else {
        return;
    };
    match own.via.map_or_else(|| Ok(value.clone()), |via| (via.read)(&value)) {
        Ok(read) => config[own.model] = read,
        Err(problem) => {
            findings.push(refusal(subject, format!("\"{}\" {problem}", own.name)));
        }
    }
}

struct Translation<'a> {
    config: &'a Value,
    subject: &'a str,
    findings: &'a mut Vec<Finding>,
    fields: Map<String, Value>,
}

impl Translation<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.config.get(name).filter(|value| !value.is_null())
    }

    fn refuse(&mut self, problem: String) {
        self.findings.push(refusal(self.subject, problem));
    }

    fn put(&mut self, name: &str, value: Value) {
        self.fields.insert(name.into(), value);
    }

    fn run(&mut self) {
        let has_experts = self.get("num_moe_experts").is_some();
        for field in GptConfig::FIELDS {
            match field.name {
                "num_query_groups" => self.heads(),
                "activation_func" => self.activation(),
                "params_dtype" => self.dtype(),
                "rope_scaling" => self.rope(),
                "moe_layer_freq" => self.layers(field.name, |layer, every| layer % every == 0),
                "window_attn_skip_freq" | "no_rope_freq" => {
                    // Of every so many the last one has no window, and does not rotate.
                    let window = field.name == "window_attn_skip_freq";
                    let is_last = |layer, every| (layer + 1) % every == 0;
                    self.layers(field.name, |layer, every| is_last(layer, every) != window);
                }
                // Made with the groups.
                "kv_channels" => {}
                "attention_bias" | "mlp_bias" => self.copy(field, "add_bias_linear"),
                // Only training from the beginning goes by it.
                "init_method_std" => {
                    let std = self.get("init_method_std").cloned();
                    self.put("init_method_std", std.unwrap_or(INIT_METHOD_STD.into()));
                }
                "moe_ffn_hidden_size" if has_experts => {
                    let width = self.get("moe_ffn_hidden_size").or(self.get("ffn_hidden_size"));
                    self.put("moe_ffn_hidden_size", json!(width));
                }
                name if ALWAYS_SAID.contains(&name) => {
                    if has_experts {
                        let core = field.core.map_or(Value::Null, |core| core.value());
                        let value = self.get(name).cloned().unwrap_or(core);
                        self.put(name, value);
                    }
                }
                // All experts are in one group.
                "moe_router_num_groups" | "moe_router_group_topk"
                    if self.get("moe_router_num_groups") == Some(&json!(1)) => {}
                name if is_of_experts(name) && !has_experts => {}
                name => self.copy(field, name),
            }
        }
        for (name, neutral) in ELSEWHERE.into_iter().chain(OF_CLASSES) {
            if let Some(value) = self.get(name).filter(|value| !neutral.is(value)) {
                let problem = format!("\"{name}\" is {value}; connector knows {}", neutral.value());
                self.refuse(problem);
            }
        }
    }

    /// Takes a field over that is called `name` in the framework's config.
    fn copy(&mut self, field: &Field, name: &str) {
        match (self.get(name).cloned(), field.core) {
            (None, None) => self.refuse(format!("\"{name}\" is not given")),
            // What is as Megatron-core has it, the model's config does not say.
            (Some(value), Some(core)) if core.is(&value) => {}
            (Some(value), _) => self.put(field.name, value),
            (None, Some(_)) => {}
        }
    }

    /// A field with a 0 or 1 for each layer: a list, or a number, by which `is_one` says it of a
    /// layer. What is the same for all layers and is so without the field is left out.
    fn layers(&mut self, name: &str, is_one: impl Fn(u64, u64) -> bool) {
        let layers = self.get("num_layers").and_then(Value::as_u64).unwrap_or(0);
        // All layers have experts, or a window; none is without rotation.
        let usual = json!(u64::from(name != "no_rope_freq"));
        let kinds = match self.get(name).cloned() {
            None => return,
            Some(Value::Array(kinds)) => kinds,
            Some(every) => match every.as_u64() {
                Some(every @ 1..) if layers <= MOST_LAYERS => {
                    (0..layers).map(|layer| u64::from(is_one(layer, every)).into()).collect()
                }
                _ => {
                    return self.refuse(format!(
                        "\"{name}\" is {every}; connector knows a number and a list of 0 and 1"
                    ));
                }
            },
        };
        if kinds.len() as u64 != layers || kinds.iter().any(|kind| *kind != usual) {
            self.put(name, kinds.into());
        }
    }

    /// The groups and the size of heads, which follow from others where they are null.
    fn heads(&mut self) {
        let number = |name: &str| self.get(name).and_then(Value::as_u64);
        let (hidden, heads) = (number("hidden_size"), number("num_attention_heads"));
        let groups = number("num_query_groups").or(heads);
        let size = hidden.zip(heads).and_then(|(hidden, heads)| hidden.checked_div(heads));
        let size = number("kv_channels").or(size);
        if let (Some(groups), Some(size)) = (groups, size) {
            self.put("num_query_groups", groups.into());
            self.put("kv_channels", size.into());
        }
    }

    /// The path of the Python object that a field names.
    fn object(&self, name: &str) -> Option<&str> {
        self.get(name)?.get("_target_")?.as_str()
    }

    fn activation(&mut self) {
        let path = self.object("activation_func");
        let Some(name) = path.and_then(activation::named) else {
            let path = path.unwrap_or("not given");
            let problem =
                format!("\"activation_func\" is {path}; connector knows {}", activation::known());
            return self.refuse(problem);
        };
        self.put("activation_func", name.into());
    }

    fn dtype(&mut self) {
        let name = self.object("params_dtype").and_then(|path| path.strip_prefix("torch."));
        if let Some(name) = name.map(String::from) {
            self.put("params_dtype", name.into());
        }
    }

    fn rope(&mut self) {
        let linear = self.get("seq_len_interpolation_factor").cloned();
        if let Some(factor) = linear {
            self.put("rope_scaling", json!({"rope_type": "linear", "scale_factor": factor}));
        }
        if self.get(LLAMA3[0]).is_none() {
            return self.core_rope();
        }
        let mut scaling = Map::from_iter([("rope_type".to_string(), json!("llama3"))]);
        for name in LLAMA3 {
            match self.get(name).cloned() {
                Some(value) => drop(scaling.insert(name.into(), value)),
                None => self.refuse(format!("\"{name}\" is not given, but \"scale_factor\" is")),
            }
        }
        if let Some(Value::Number(length)) = scaling.get_mut("old_context_len")
            && let Some(whole) = length.as_f64().filter(|length| length.fract() == 0.0)
        {
            *length = (whole as u64).into();
        }
        self.put("rope_scaling", Value::Object(scaling));
    }

    /// Megatron-core's own scaling for Llama 3.1, in whose code all numbers but the factor stand
    /// (`RotaryEmbedding._apply_scaling`).
    fn core_rope(&mut self) {
        if self.get("rope_scaling") != Some(&Value::Bool(true)) {
            return;
        }
        let factor = self.get("rope_scaling_factor").cloned().unwrap_or(json!(8.0));
        let scaling = json!({
            "rope_type": "llama3",
            "scale_factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "old_context_len": 8192,
        });
        self.put("rope_scaling", scaling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConnector;

    fn config(change: impl FnOnce(&mut Value)) -> Value {
        let mut config = json!({
            "_target_": "nemo.collections.llm.gpt.model.llama.LlamaConfig",
            "num_layers": 2, "hidden_size": 48, "ffn_hidden_size": 80, "num_attention_heads": 6,
            "num_query_groups": null, "kv_channels": null, "seq_length": 256, "vocab_size": 97,
            "make_vocab_size_divisible_by": 1, "rope_scaling": false, "share_embeddings_and_output_weights": false,
            "layernorm_epsilon": 1e-5, "normalization": "RMSNorm", "gated_linear_unit": true,
            "position_embedding_type": "rope", "rotary_base": 10000.0, "init_method_std": 0.02,
            "activation_func": {"_call_": false, "_target_": "torch.nn.functional.silu"},
            "params_dtype": {"_call_": false, "_target_": "torch.bfloat16"},
            "rotary_percent": 1, "moe_router_topk": 2, "cuda_graph_scope": "full",
        });
        change(&mut config);
        config
    }

    fn translated(scaled: bool, change: impl FnOnce(&mut Value)) -> (Map<String, Value>, String) {
        let mut findings = Vec::new();
        let gemma = crate::families::HfGemma::FRAMEWORKS.filter(|_| scaled);
        let value = translate(&config(change), gemma.as_ref(), "model.yaml", &mut findings);
        (value, findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_follows_is_filled_in_and_what_is_for_training_left_out() {
        let (fields, problems) = translated(false, |_| {});
        assert_eq!(problems, "");
        assert_eq!((&fields["num_query_groups"], &fields["kv_channels"]), (&json!(6), &json!(8)));
        assert_eq!(
            (&fields["activation_func"], &fields["params_dtype"]),
            (&json!("silu"), &json!("bfloat16"))
        );
        assert!(
            fields.get("cuda_graph_scope").is_none() && fields.get("moe_router_topk").is_none()
        );
        let scaled = |config: &mut Value| {
            config["scale_factor"] = json!(8.0);
            config["low_freq_factor"] = json!(1.0);
            config["high_freq_factor"] = json!(4.0);
            config["old_context_len"] = json!(8192);
        };
        let scaling = translated(false, scaled).0["rope_scaling"].clone();
        assert_eq!(
            (&scaling["rope_type"], &scaling["old_context_len"]),
            (&json!("llama3"), &json!(8192))
        );
        let (fields, _) = translated(true, |config| {
            config["activation_func"]["_target_"] =
                json!("nemo.collections.llm.fn.activation.openai_gelu");
        });
        assert_eq!(fields["activation_func"], "gelu_pytorch_tanh");
        assert_eq!(fields["apply_embedding_scaling"], true);
    }

    #[test]
    fn what_is_absent_is_megatron_core_s_default() {
        let (fields, problems) = translated(false, |config| {
            config["init_method_std"] = json!(null);
            config["rope_scaling"] = json!(true);
            config["num_moe_experts"] = json!(4);
            config["moe_ffn_hidden_size"] = json!(24);
            config["moe_aux_loss_coeff"] = json!(0.01);
        });
        assert_eq!(problems, "");
        assert_eq!(fields["init_method_std"], 0.02);
        let scaling = &fields["rope_scaling"];
        assert_eq!(
            (&scaling["scale_factor"], &scaling["old_context_len"]),
            (&json!(8.0), &json!(8192))
        );
        for (name, want) in [
            ("ffn_hidden_size", json!(80)),
            ("moe_ffn_hidden_size", json!(24)),
            ("moe_aux_loss_coeff", json!(0.01)),
            ("moe_input_jitter_eps", json!(null)),
            ("moe_router_load_balancing_type", json!("aux_loss")),
        ] {
            assert_eq!(fields[name], want, "{name}");
        }
    }

    #[test]
    fn what_makes_another_model_is_refused() {
        for (name, value, want) in [
            ("vocab_size", json!(null), "\"vocab_size\" is not given"),
            ("is_hybrid_model", json!(true), "\"is_hybrid_model\" is true; connector knows false"),
            ("mtp_num_layers", json!(1), "\"mtp_num_layers\" is 1; connector knows null"),
            (
                "moe_layer_freq",
                json!("[1]*2"),
                "\"moe_layer_freq\" is \"[1]*2\"; connector knows a number",
            ),
            ("activation_func", json!({"_target_": "x.relu"}), "\"activation_func\" is x.relu"),
            ("scale_factor", json!(8.0), "\"low_freq_factor\" is not given"),
        ] {
            let (_, problems) = translated(false, |config| config[name] = value);
            assert!(
                problems.contains(want) && problems.contains("take the config from"),
                "{problems}"
            );
        }
    }

    /// What NeMo's and Megatron-Bridge's own importers made of the fixtures has no field that is in no
    /// list; one that is in none is found.
    #[test]
    fn every_field_of_a_real_config_is_known() {
        let registry = crate::connector::Registry::get().unwrap();
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
        let mut seen = 0;
        for entry in std::fs::read_dir(fixtures).unwrap() {
            let dir = entry.unwrap().path();
            let read = |name: &str| -> Option<Value> {
                serde_json::from_slice(&std::fs::read(dir.join(name)).ok()?).ok()
            };
            for name in ["nemo_config.json", "bridge_config.json"] {
                let (Some(mut config), Some(hf)) = (read(name), read("hf/config.json")) else {
                    continue;
                };
                let architecture = hf["architectures"][0].as_str().unwrap();
                let importer = registry.importer("hf", None, &[architecture]).unwrap();
                let fields = config.as_object_mut().unwrap();
                // What the script that wrote the file says of it, and what the generic class has not.
                fields.retain(|name, _| name != "provider" && !name.starts_with("yarn_"));
                let classes = importer.connector.frameworks();
                fields.insert("num_recurrent_steps".into(), json!(8));
                seen += 1;
                assert_eq!(unknown(&config, classes), ["num_recurrent_steps"], "{}", dir.display());
            }
        }
        assert!(seen > 10, "{seen}");
    }
}

//! A config as NeMo and Megatron-Bridge write it: every field of Megatron-core's, and Python objects
//! by their paths. From it, the fields of the config of the families in
//! [`families`](crate::families).

use crate::base::{Advice, Finding, FindingKind};
use serde_json::{Map, Value, json};

/// Taken as they are; without them there is no model.
const REQUIRED: [&str; 13] = [
    "num_layers",
    "hidden_size",
    "ffn_hidden_size",
    "num_attention_heads",
    "seq_length",
    "vocab_size",
    "make_vocab_size_divisible_by",
    "share_embeddings_and_output_weights",
    "layernorm_epsilon",
    "normalization",
    "gated_linear_unit",
    "position_embedding_type",
    "rotary_base",
];

/// Taken where they are not null.
const OPTIONAL: [&str; 3] = ["layernorm_zero_centered_gamma", "window_size", "num_moe_experts"];

/// Taken where there are experts, or else Megatron-core's default for them; of a dense model they
/// say nothing.
const OF_EXPERTS: [(&str, &str); 6] = [
    ("moe_router_topk", "2"),
    ("moe_router_pre_softmax", "false"),
    ("moe_router_load_balancing_type", "\"aux_loss\""),
    ("moe_aux_loss_coeff", "0.0"),
    ("moe_input_jitter_eps", "0.0"),
    ("moe_grouped_gemm", "false"),
];

/// Megatron-core's default. Only training from the beginning goes by it.
const INIT_METHOD_STD: f64 = 0.02;

/// What would make another model, and the only values that do not. Fields that are in no list say
/// how a model is trained, or run fast, and are left out.
const NEUTRAL: [(&str, &str); 26] = [
    ("activation_func_clamp_value", "null"),
    ("add_qkv_bias", "false"),
    ("apply_residual_connection_post_layernorm", "false"),
    ("attention_output_gate", "false"),
    ("experimental_attention_variant", "null"),
    ("glu_linear_offset", "0.0"),
    ("heterogeneous_block_specs", "false"),
    ("is_hybrid_model", "false"),
    ("linear_attention_freq", "null"),
    ("moe_latent_size", "null"),
    ("moe_layer_freq", "1"),
    ("moe_router_enable_expert_bias", "false"),
    ("moe_router_num_groups", "null"),
    ("moe_router_score_function", "\"softmax\""),
    ("moe_router_topk_scaling_factor", "null"),
    ("moe_shared_expert_intermediate_size", "null"),
    ("mtp_num_layers", "null"),
    ("multi_latent_attention", "false"),
    ("no_rope_freq", "null"),
    ("qk_l2_norm", "false"),
    ("qk_layernorm", "false"),
    ("rotary_interleaved", "false"),
    ("rotary_percent", "1.0"),
    ("softmax_scale", "null"),
    ("softmax_type", "\"vanilla\""),
    ("window_attn_skip_freq", "null"),
];

/// Llama 3.1's fields of rotary scaling, which NeMo's `Llama31Config` adds.
const LLAMA3: [&str; 4] =
    ["scale_factor", "low_freq_factor", "high_freq_factor", "old_context_len"];

/// Whether the config in a `model.yaml` was written by NeMo: it names its own class.
pub(in crate::checkpoint) fn is_nemo(config: &Value) -> bool {
    config.get("_target_").is_some()
}

/// The config of the families from the fields of a provider. What cannot be translated is noted in
/// `findings` with `subject`. `scaled` says that the framework's own class for the model scales the
/// embedding.
pub(in crate::checkpoint) fn translate(
    config: &Value,
    scaled: bool,
    subject: &str,
    findings: &mut Vec<Finding>,
) -> Value {
    let mut translation = Translation { config, subject, findings, fields: Map::new() };
    translation.run(scaled);
    Value::Object(translation.fields)
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
        let finding =
            Finding::new(FindingKind::Config, self.subject, problem).advise(Advice::TakeConfig);
        self.findings.push(finding);
    }

    fn put(&mut self, name: &str, value: Value) {
        self.fields.insert(name.into(), value);
    }

    fn run(&mut self, scaled: bool) {
        for name in REQUIRED {
            match self.get(name).cloned() {
                Some(value) => self.put(name, value),
                None => self.refuse(format!("\"{name}\" is not given")),
            }
        }
        for name in OPTIONAL {
            if let Some(value) = self.get(name).cloned() {
                self.put(name, value);
            }
        }
        let std = self.get("init_method_std").cloned().unwrap_or(INIT_METHOD_STD.into());
        self.put("init_method_std", std);
        self.experts();
        for (name, neutral) in NEUTRAL {
            let known = literal(neutral);
            // A number is the same with and without a fraction.
            let same = |value: &Value| match (value.as_f64(), known.as_f64()) {
                (Some(value), Some(known)) => value == known,
                _ => *value == known,
            };
            if let Some(value) = self.get(name).filter(|value| !same(value)) {
                let problem = format!("\"{name}\" is {value}; connector knows {neutral}");
                self.refuse(problem);
            }
        }
        self.heads();
        self.activation();
        self.dtype();
        self.rope();
        let bias = self.get("add_bias_linear").cloned().unwrap_or(Value::Bool(false));
        self.put("attention_bias", bias.clone());
        self.put("mlp_bias", bias);
        if scaled {
            self.put("apply_embedding_scaling", true.into());
        }
    }

    fn experts(&mut self) {
        if self.get("num_moe_experts").is_none() {
            return;
        }
        for (name, default) in OF_EXPERTS {
            let value = self.get(name).cloned().unwrap_or_else(|| literal(default));
            self.put(name, value);
        }
        // Where every layer is a mixture, the width of a dense one says nothing.
        let width = self.get("moe_ffn_hidden_size").or(self.get("ffn_hidden_size")).cloned();
        if let Some(width) = width {
            self.put("ffn_hidden_size", width.clone());
            self.put("moe_ffn_hidden_size", width);
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
        let name = match self.object("activation_func") {
            Some("torch.nn.functional.silu") => "silu",
            // The function is built in, and its module another than the one it is known by.
            Some("torch.nn.functional.gelu" | "torch._C._nn.gelu") => "gelu",
            // NeMo's and Megatron-core's names for the approximation with tanh.
            Some(path) if path.ends_with(".openai_gelu") || path.ends_with(".fast_gelu") => {
                "gelu_pytorch_tanh"
            }
            other => {
                let problem = format!(
                    "\"activation_func\" is {}; connector knows torch.nn.functional's silu and \
                     gelu, NeMo's openai_gelu and Megatron-core's fast_gelu",
                    other.unwrap_or("not given")
                );
                return self.refuse(problem);
            }
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

/// A value of a table.
fn literal(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn translated(scaled: bool, change: impl FnOnce(&mut Value)) -> (Value, String) {
        let mut findings = Vec::new();
        let value = translate(&config(change), scaled, "model.yaml", &mut findings);
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
            ("ffn_hidden_size", json!(24)),
            ("moe_ffn_hidden_size", json!(24)),
            ("moe_aux_loss_coeff", json!(0.01)),
            ("moe_input_jitter_eps", json!(0.0)),
            ("moe_router_load_balancing_type", json!("aux_loss")),
        ] {
            assert_eq!(fields[name], want, "{name}");
        }
    }

    #[test]
    fn what_makes_another_model_is_refused() {
        for (name, value, want) in [
            ("vocab_size", json!(null), "\"vocab_size\" is not given"),
            ("qk_layernorm", json!(true), "\"qk_layernorm\" is true; connector knows false"),
            ("rotary_percent", json!(0.5), "\"rotary_percent\" is 0.5; connector knows 1.0"),
            ("moe_layer_freq", json!([0, 1]), "\"moe_layer_freq\" is [0,1]; connector knows 1"),
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
}

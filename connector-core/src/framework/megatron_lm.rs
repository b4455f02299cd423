//! The arguments of Megatron-LM's command line as a checkpoint keeps them, from which
//! `--use-checkpoint-args` sets those of a run (`load_args_from_checkpoint`).
//!
//! All that make up the model are there, also where Megatron-LM's own default is the same, and
//! those that Megatron-Bridge asks for when it opens such a checkpoint (`mlm_compat`). No path: the
//! tokenizer is for `--tokenizer-model`.

use super::activation;
use super::found::{Class, Foreign};
use super::megatron_core::Megatron;
use super::python::Python;
use crate::checkpoint::Flavor;
use crate::config::{Args, ConfigFields};
use crate::gpt::{ELSEWHERE, GptConfig};
use serde_json::{Map, Value, json};

/// Those that are the same for every model here. JSON, for lists and null.
const CONSTANT: [(&str, &str); 35] = [
    // What the model does not have.
    ("add_position_embedding", "false"),
    ("apply_query_key_layer_scaling", "false"),
    ("attention_dropout", "0.0"),
    ("hidden_dropout", "0.0"),
    ("heterogeneous_layers_config_path", "null"),
    ("init_method_xavier_uniform", "false"),
    ("moe_use_legacy_grouped_gemm", "false"),
    ("spec", "null"),
    ("use_rotary_position_embeddings", "false"),
    // How it is run.
    ("attention_softmax_in_fp32", "false"),
    ("bias_gelu_fusion", "false"),
    ("bias_swiglu_fusion", "true"),
    ("config_logger_dir", "\"\""),
    ("context_parallel_size", "1"),
    ("decoder_first_pipeline_num_layers", "null"),
    ("decoder_last_pipeline_num_layers", "null"),
    ("expert_model_parallel_size", "1"),
    ("fp16_lm_cross_entropy", "false"),
    ("fp8_param_gather", "false"),
    ("init_model_with_meta_device", "false"),
    ("no_persist_layer_norm", "false"),
    ("overlap_p2p_comm", "false"),
    ("pipeline_model_parallel_size", "1"),
    ("tensor_model_parallel_size", "1"),
    ("transformer_impl", "\"transformer_engine\""),
    ("virtual_pipeline_model_parallel_size", "null"),
    // What the checkpoint has.
    ("ckpt_format", "\"torch_dist\""),
    ("consumed_train_samples", "0"),
    ("consumed_valid_samples", "0"),
    ("iteration", "0"),
    ("no_save_optim", "true"),
    ("no_save_rng", "true"),
    ("skipped_train_samples", "0"),
    ("tokenizer_model", "null"),
    ("tokenizer_type", "\"HuggingFaceTokenizer\""),
];

pub(super) fn write(model: &Megatron<'_>) -> Python {
    let activation = model.activation(Flavor::MegatronLm);
    let mut args = model.arguments();
    let groups = model.count("num_query_groups");
    args.extend([
        ("max_position_embeddings", model.python("seq_length")),
        ("group_query_attention", Python::Bool(groups != model.count("num_attention_heads"))),
        ("num_query_groups", Python::Int(groups)),
        ("add_bias_linear", Python::Bool(model.add_bias_linear())),
        ("padded_vocab_size", Python::Int(model.vocab_rows())),
    ]);
    args.extend(activation::OPTIONS.map(|name| (name, Python::Bool(activation == Some(name)))));
    let sharing = match model.cp_comm_type() {
        Python::None => Python::text("p2p"),
        other => other,
    };
    args.push(("cp_comm_type", Python::List(vec![sharing])));
    let linear = model.linear_rope().map_or(Python::None, Python::from);
    args.push(("rotary_seq_len_interpolation_factor", linear));
    let llama3 = model.llama3_rope();
    args.push(("use_rope_scaling", Python::Bool(llama3.is_some())));
    let factor = llama3.map_or(Python::Float(8.0), |rope| rope.python("scale_factor"));
    args.push(("rope_scaling_factor", factor));
    args.extend(model.dtype());
    args.extend(ELSEWHERE.map(|(name, value)| (name, Python::from(&value.value()))));
    args.extend(CONSTANT.map(|(name, json)| {
        let value = serde_json::from_str(json).unwrap_or_default();
        (name, Python::from(&value))
    }));
    args.sort_by_key(|arg| arg.0);
    Python::Dict(args.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// Arguments that say what Megatron-core's config says under another name, beside those of the table.
const RENAMED: [(&str, &str); 3] = [
    ("use_rope_scaling", "rope_scaling"),
    ("rotary_seq_len_interpolation_factor", "seq_len_interpolation_factor"),
    // What the model is made for; `seq_length` is what it was trained with.
    ("max_position_embeddings", "seq_length"),
];

/// Fields that may list one value for each of several losses.
const LISTS: [&str; 2] = ["moe_router_load_balancing_type", "moe_aux_loss_coeff"];

/// The fields of Megatron-core's config, as `core_transformer_config_from_args` makes them. All others
/// stay as they are: most have the same name.
pub(super) fn read(args: Map<String, Value>) -> Foreign {
    let is = |name: &str| args.get(name).and_then(Value::as_bool).unwrap_or(false);
    let option = activation::OPTIONS.into_iter().find(|name| is(name));
    let activation = activation::of_option(option.unwrap_or("gelu")).unwrap_or_default();
    let groups = if is("group_query_attention") { args.get("num_query_groups") } else { None };
    let mut made = vec![
        ("activation_func", json!({ "_target_": activation })),
        ("gated_linear_unit", json!(matches!(option, Some("swiglu" | "quick_geglu")))),
        ("num_query_groups", json!(groups)),
        ("heterogeneous_block_specs", json!(is_given(&args, "heterogeneous_layers_config_path"))),
    ];
    if is("use_rotary_position_embeddings") {
        made.push(("position_embedding_type", json!("rope")));
    }
    let given = |name: &str| args.get(name).filter(|value| !value.is_null()).cloned();
    for field in GptConfig::FIELDS {
        let value = match field.args {
            Args::As(name) => given(name),
            Args::Not(name) => given(name).and_then(|on| Some((!on.as_bool()?).into())),
            Args::Same | Args::Made | Args::Unsaid(_) => None,
        };
        made.extend(value.map(|value| (field.name, value)));
    }
    made.extend(RENAMED.into_iter().filter_map(|(old, new)| Some((new, given(old)?))));
    let mut fields = args;
    for name in LISTS {
        if let Some(Value::Array(list)) = fields.get(name)
            && let [one] = &list[..]
        {
            let one = one.clone();
            fields.insert(name.into(), one);
        }
    }
    fields.extend(made.into_iter().map(|(name, value)| (name.to_string(), value)));
    Foreign { class: Class::Any, config: Value::Object(fields) }
}

fn is_given(args: &Map<String, Value>, name: &str) -> bool {
    args.get(name).is_some_and(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_the_fields_of_a_provider() {
        let of = |args: Value| {
            let Value::Object(args) = args else { panic!("an object") };
            read(args).config
        };
        let fields = of(json!({
            "num_layers": 2, "swiglu": true, "norm_epsilon": 1e-6, "num_experts": 4,
            "untie_embeddings_and_output_weights": true, "num_query_groups": 1,
            "group_query_attention": false, "max_position_embeddings": 4096, "seq_length": 512,
            "moe_aux_loss_coeff": [0.01], "use_rope_scaling": true,
        }));
        for (name, want) in [
            ("num_layers", json!(2)),
            ("activation_func", json!({"_target_": "torch.nn.functional.silu"})),
            ("gated_linear_unit", json!(true)),
            ("layernorm_epsilon", json!(1e-6)),
            ("num_moe_experts", json!(4)),
            ("share_embeddings_and_output_weights", json!(false)),
            ("num_query_groups", json!(null)),
            ("seq_length", json!(4096)),
            ("moe_aux_loss_coeff", json!(0.01)),
            ("rope_scaling", json!(true)),
        ] {
            assert_eq!(fields[name], want, "{name}");
        }
        assert!(of(json!({})).get("share_embeddings_and_output_weights").is_none());
        for (flag, want) in [
            ("quick_geglu", "quick_gelu"),
            ("squared_relu", "squared_relu"),
            ("openai_gelu", "fast_gelu"),
            ("none", "functional.gelu"),
        ] {
            let mut args = Map::new();
            args.insert(flag.into(), true.into());
            let name = read(args).config["activation_func"]["_target_"].to_string();
            assert!(name.contains(want), "{flag}: {name}");
        }
    }
}

//! Megatron-LM's command line, which `common.pt` keeps: from it, the fields that NeMo and
//! Megatron-Bridge write, as `core_transformer_config_from_args` makes them.

use serde_json::{Map, Value, json};

/// A field that is called otherwise on the command line.
const RENAMED: [(&str, &str); 6] = [
    ("norm_epsilon", "layernorm_epsilon"),
    ("apply_layernorm_1p", "layernorm_zero_centered_gamma"),
    ("num_experts", "num_moe_experts"),
    ("use_rope_scaling", "rope_scaling"),
    ("rotary_seq_len_interpolation_factor", "seq_len_interpolation_factor"),
    // What the model is made for; `seq_length` is what it was trained with.
    ("max_position_embeddings", "seq_length"),
];

/// Fields that may list one value for each of several losses.
const LISTS: [&str; 2] = ["moe_router_load_balancing_type", "moe_aux_loss_coeff"];

/// The fields of a provider. All others stay as they are: most have the same name.
pub(super) fn provider(args: Map<String, Value>) -> Value {
    let is = |name: &str| args.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (swiglu, quick_geglu) = (is("swiglu"), is("quick_geglu"));
    let activation = if swiglu {
        "torch.nn.functional.silu"
    } else if quick_geglu {
        "megatron.core.fusions.fused_bias_geglu.quick_gelu"
    } else if is("squared_relu") {
        "megatron.core.activations.squared_relu"
    } else if is("openai_gelu") {
        "megatron.core.transformer.utils.openai_gelu"
    } else {
        "torch.nn.functional.gelu"
    };
    let groups = if is("group_query_attention") { args.get("num_query_groups") } else { None };
    let mut made = vec![
        ("activation_func", json!({ "_target_": activation })),
        ("gated_linear_unit", json!(swiglu || quick_geglu)),
        ("num_query_groups", json!(groups)),
        ("heterogeneous_block_specs", json!(is_given(&args, "heterogeneous_layers_config_path"))),
    ];
    // Without it nothing says whether there is an output layer.
    if is_given(&args, "untie_embeddings_and_output_weights") {
        let tied = !is("untie_embeddings_and_output_weights");
        made.push(("share_embeddings_and_output_weights", json!(tied)));
    }
    if is("use_rotary_position_embeddings") {
        made.push(("position_embedding_type", json!("rope")));
    }
    for (old, new) in RENAMED {
        made.extend(args.get(old).filter(|value| !value.is_null()).map(|v| (new, v.clone())));
    }
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
    Value::Object(fields)
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
            provider(args)
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
            ("openai_gelu", "openai_gelu"),
            ("none", "functional.gelu"),
        ] {
            let mut args = Map::new();
            args.insert(flag.into(), true.into());
            let name = provider(args)["activation_func"]["_target_"].to_string();
            assert!(name.contains(want), "{flag}: {name}");
        }
    }
}

//! The families that came after the first: what their configs say, and what is refused.

use crate::support::{imports, model_config, refusal};
use connector_tests::{Bench, Model, Tensor, config_of, export_options, options};
use serde_json::{Value, json};

fn changed(name: &str, changes: Value) -> Model {
    Model { config: config_of(name, changes), ..Model::fixture(name) }
}

#[test]
fn what_they_compute_is_in_their_configs() {
    for (name, want) in [
        (
            "starcoder2",
            json!({
                "normalization": "LayerNorm", "gated_linear_unit": false, "attention_bias": true,
                "mlp_bias": true, "activation_func": "gelu_pytorch_tanh", "window_size": null,
                "share_embeddings_and_output_weights": true,
            }),
        ),
        (
            "nemotron",
            json!({
                "normalization": "LayerNorm", "layernorm_zero_centered_gamma": true,
                "activation_func": "relu2", "rotary_percent": 0.5, "gated_linear_unit": false,
            }),
        ),
        ("phi3", json!({"rotary_percent": null, "window_size": null, "normalization": "RMSNorm"})),
        (
            "olmoe",
            json!({
                "qk_layernorm": true, "qk_layernorm_full_width": true, "moe_ffn_hidden_size": 96,
                "moe_router_pre_softmax": true, "moe_aux_loss_coeff": 0.01,
            }),
        ),
        ("olmo2", json!({"layernorm_position": "after", "qk_layernorm_full_width": true})),
        (
            "qwen2_moe",
            json!({
                "add_qkv_bias": true, "moe_router_pre_softmax": true, "moe_layer_freq": null,
                "moe_shared_expert_intermediate_size": 28, "moe_shared_expert_gate": true,
            }),
        ),
        (
            "gemma2",
            json!({
                "layernorm_position": "both", "softmax_scale": 20f64.powf(-0.5),
                "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
                "window_size": [7, 0], "window_attn_skip_freq": [1, 0, 1, 0],
            }),
        ),
        (
            "gemma3_text",
            json!({
                "qk_layernorm": true, "attn_logit_softcapping": null, "rotary_base": 1e6,
                "rotary_base_local": 1e4, "window_attn_skip_freq": [1, 1, 1, 1, 1, 0, 1],
            }),
        ),
        (
            "gpt_oss",
            json!({
                "softmax_type": "learnable", "activation_func": "quick_gelu", "mlp_bias": true,
                "activation_func_clamp_value": 7.0, "glu_linear_offset": 1.0,
                "rope_scaling": {
                    "rope_type": "yarn", "scale_factor": 32.0, "old_context_len": 4096,
                    "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
                },
            }),
        ),
        (
            "llama4_text",
            json!({
                "no_rope_freq": [0, 0, 0, 1], "attention_chunk_size": 8, "qk_l2_norm": true,
                "rotary_interleaved": true, "moe_layer_freq": [0, 1, 0, 1],
                "moe_router_score_function": "sigmoid", "moe_apply_probs_on_input": true,
                "moe_shared_expert_intermediate_size": 24, "attention_temperature": null,
            }),
        ),
        (
            "glm4_moe",
            json!({
                "add_qkv_bias": true, "qk_layernorm": true, "moe_layer_freq": [0, 1, 1],
                "moe_router_enable_expert_bias": true, "moe_router_topk_scaling_factor": 1.5,
                "moe_router_num_groups": null, "moe_shared_expert_intermediate_size": 20,
            }),
        ),
        ("smollm3", json!({"no_rope_freq": [0, 1, 0, 1], "window_size": null, "kv_channels": 12})),
        ("seed_oss", json!({"add_qkv_bias": true, "attention_bias": null, "kv_channels": 12})),
        (
            "glm4",
            json!({
                "layernorm_position": "both", "rotary_interleaved": true, "rotary_percent": 0.5,
                "add_qkv_bias": true,
            }),
        ),
        (
            "minimax_m2",
            json!({
                "qk_layernorm_full_width": true, "rotary_percent": 0.5, "moe_ffn_hidden_size": 20,
                "moe_router_score_function": "sigmoid", "moe_router_enable_expert_bias": true,
            }),
        ),
        (
            "granite",
            json!({
                "softmax_scale": 0.2, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
                "logits_scaling": 3.0,
            }),
        ),
        ("ernie4_5", json!({"rotary_interleaved": true, "attention_bias": null})),
        (
            "ernie4_5_moe",
            json!({
                "moe_layer_freq": [0, 1, 1, 0], "moe_router_score_function": null,
                "moe_router_pre_softmax": false, "moe_router_enable_expert_bias": true,
                "moe_shared_expert_intermediate_size": 40,
            }),
        ),
        (
            "exaone4",
            json!({
                "layernorm_position": "after", "window_size": [7, 0],
                "window_attn_skip_freq": [1, 1, 0, 1], "no_rope_freq": [0, 0, 1, 0],
            }),
        ),
        (
            "ministral3",
            json!({"attention_temperature": {"scale": 0.3, "floor": 5.0, "everywhere": true}}),
        ),
        (
            "phi4_mini",
            json!({"rope_scaling": {
                "rope_type": "longrope", "short_factor": [1.0, 1.1], "long_factor": [1.5, 4.0],
                "old_context_len": 8, "scale_factor": 32.0,
            }}),
        ),
    ] {
        imports(&Model::fixture(name), &want);
    }
}

/// A field that is absent means what the config's class in transformers means.
#[test]
fn absent_fields_mean_what_transformers_means() {
    for (name, absent, want) in [
        ("starcoder2", "use_bias", json!({"attention_bias": true, "mlp_bias": true})),
        ("nemotron", "partial_rotary_factor", json!({"rotary_percent": 0.5})),
        ("gemma2", "layer_types", json!({"window_attn_skip_freq": [1, 0, 1, 0]})),
        ("gemma2", "attn_logit_softcapping", json!({"attn_logit_softcapping": 50.0})),
        ("gemma2", "query_pre_attn_scalar", json!({"softmax_scale": 0.0625})),
        ("gemma3_text", "layer_types", json!({"window_attn_skip_freq": [1, 1, 1, 1, 1, 0, 1]})),
        ("gemma3_text", "rope_local_base_freq", json!({"rotary_base_local": 1e4})),
        ("gpt_oss", "layer_types", json!({"window_attn_skip_freq": [1, 0, 1]})),
        ("llama4_text", "no_rope_layers", json!({"no_rope_freq": [0, 0, 0, 1]})),
        ("llama4_text", "moe_layers", json!({"moe_layer_freq": [0, 1, 0, 1]})),
        (
            "llama4_text",
            "attn_temperature_tuning",
            json!({"attention_temperature": {"scale": 0.1, "floor": 8192.0}}),
        ),
        ("llama4_text", "attention_chunk_size", json!({"attention_chunk_size": 8192})),
        ("qwen2_moe", "qkv_bias", json!({"add_qkv_bias": true})),
        ("qwen2_moe", "norm_topk_prob", json!({"moe_router_pre_softmax": true})),
        ("glm4_moe", "first_k_dense_replace", json!({"moe_layer_freq": [0, 1, 1]})),
        ("glm4_moe", "n_shared_experts", json!({"moe_shared_expert_intermediate_size": 20})),
        ("smollm3", "tie_word_embeddings", json!({"share_embeddings_and_output_weights": true})),
        ("seed_oss", "attention_bias", json!({"add_qkv_bias": true})),
        ("granite", "residual_multiplier", json!({"residual_multiplier": null})),
        ("ernie4_5_moe", "moe_k", json!({"moe_router_topk": 6})),
        ("ernie4_5_moe", "moe_num_shared_experts", json!({"moe_router_topk": 2})),
        ("exaone4", "layer_types", json!({"no_rope_freq": [0, 0, 1, 0]})),
    ] {
        imports(&changed(name, json!({absent: null})), &want);
    }
}

/// Null is not absence: a cap that is null is none.
#[test]
fn a_cap_that_is_null_is_none_and_comes_back() {
    let mut model = Model::fixture("gemma2");
    model.config["attn_logit_softcapping"] = Value::Null;
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    assert!(model_config(&bench).get("attn_logit_softcapping").is_none());
    std::fs::remove_file(bench.out().join("context/config.json")).unwrap();
    bench.export(export_options(|_| {}));
    let text = std::fs::read_to_string(bench.back().join("config.json")).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written.get("attn_logit_softcapping"), Some(&Value::Null));
    assert_eq!(written["query_pre_attn_scalar"], 20);
}

#[test]
fn what_they_do_not_convert_is_refused_by_name() {
    let mixed = json!({"layer_types": ["full_attention", "linear_attention", "x", "x"]});
    let scaled = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4});
    let local = json!({"rope_parameters": {"sliding_attention": scaled}, "rope_theta": null});
    let whole = json!({
        "rope_type": "longrope", "short_factor": [1.0, 1.1], "long_factor": [1.5, 4.0],
    });
    let plain = json!({"rope_type": "default", "rope_theta": 1e4});
    for (name, changes, says) in [
        ("starcoder2", json!({"hidden_act": "tanh"}), "hidden_act"),
        ("nemotron", json!({"partial_rotary_factor": 1.5}), "partial_rotary_factor"),
        ("phi3", json!({"rope_scaling": {"type": "longrope"}}), "short_factor\" is missing"),
        ("phi4_mini", json!({"original_max_position_embeddings": 9}), "is 8"),
        (
            "phi4_mini",
            json!({"partial_rotary_factor": null, "rope_parameters": whole}),
            "2 numbers",
        ),
        ("phi3", json!({"attention_bias": true}), "attention_bias"),
        ("olmoe", json!({"clip_qkv": 8.0}), "clip_qkv"),
        ("olmo2", json!({"hidden_act": "relu"}), "hidden_act"),
        ("qwen2_moe", json!({"use_sliding_window": true, "sliding_window": 4}), "sliding_window"),
        ("gemma2", json!({"hidden_act": "gelu"}), "hidden_act"),
        ("gemma2", mixed, "linear_attention"),
        ("gemma2", json!({"query_pre_attn_scalar": 0}), "query_pre_attn_scalar"),
        ("gemma2", json!({"use_bidirectional_attention": true}), "use_bidirectional_attention"),
        ("gemma3_text", local, "rope_parameters.sliding_attention.rope_type"),
        // Without it the class stretches.
        ("gpt_oss", json!({"rope_scaling": null}), "\"rope_scaling\" is missing"),
        ("gpt_oss", json!({"swiglu_alpha": 2.0}), "swiglu_alpha"),
        ("llama4_text", json!({"num_experts_per_tok": 2}), "num_experts_per_tok"),
        ("llama4_text", json!({"no_rope_layers": [1, 1]}), "no_rope_layers"),
        ("llama4_text", json!({"moe_layers": [4]}), "lists layer 4, but there are 4"),
        ("glm4_moe", json!({"norm_topk_prob": false}), "norm_topk_prob"),
        ("glm4_moe", json!({"topk_group": 2}), "topk_group"),
        // Megatron-core would score groups otherwise.
        ("glm4_moe", json!({"n_group": 4, "topk_group": 2}), "scores a group by its two best"),
        ("glm4_moe", json!({"first_k_dense_replace": 4}), "first_k_dense_replace"),
        ("seed_oss", json!({"attention_out_bias": true}), "attention_out_bias"),
        ("granite", json!({"logits_scaling": 0.0}), "logits_scaling"),
        // Megatron-core does not scale the share of one that is chosen to 1.
        ("minimax_m2", json!({"num_experts_per_tok": 1}), "num_experts_per_tok"),
        ("minimax_m2", json!({"rotary_dim": 4}), "rotary_dim"),
        ("minimax_m2", json!({"scoring_func": "softmax"}), "scoring_func"),
        ("ernie4_5_moe", json!({"moe_norm_min": 0.5}), "moe_norm_min"),
        ("ernie4_5_moe", json!({"moe_num_shared_experts": 0}), "moe_num_shared_experts"),
        ("ernie4_5_moe", json!({"moe_layer_start_index": 9}), "no layer has experts"),
        (
            "exaone4",
            json!({"sliding_window_pattern": "LLG", "layer_types": null}),
            "sliding_window_pattern",
        ),
        ("ministral3", json!({"rope_parameters": null}), "\"rope_scaling\" is missing"),
        ("ministral3", json!({"rope_parameters": plain}), "llama_4_scaling_beta"),
    ] {
        let text = refusal(&changed(name, changes.clone()));
        assert!(text.contains(says), "{name} {changes}: {text}");
    }
}

/// The layers that predict further tokens are not converted.
#[test]
fn tensors_of_another_prediction_are_refused() {
    let mut model = Model::fixture("glm4_moe");
    model.add(Tensor::noise("model.layers.3.eh_proj.weight", &[48, 96]));
    let text = refusal(&model);
    assert!(text.contains("model.layers.3.eh_proj.weight"), "{text}");
}

/// Null is no window: then all layers rotate, as in EXAONE 4 of 1.2 billion.
#[test]
fn layers_without_windows_all_rotate() {
    let mut model = Model::fixture("exaone4");
    model.config["sliding_window"] = Value::Null;
    assert!(refusal(&model).contains("layer_types"));
    model.config["layer_types"] = json!(vec!["full_attention"; 4]);
    imports(&model, &json!({"window_size": null, "no_rope_freq": null}));
}

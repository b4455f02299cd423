use crate::support::{imports, refusal};
use connector_tests::{Model, config_of};
use serde_json::{Value, json};

fn changed(name: &str, changes: Value) -> Model {
    Model { config: config_of(name, changes), ..Model::fixture(name) }
}

#[test]
fn what_they_compute_is_in_their_configs() {
    for (name, want) in [
        ("qwen2", json!({"add_qkv_bias": true, "attention_bias": null, "qk_layernorm": null})),
        ("qwen3", json!({"add_qkv_bias": null, "qk_layernorm": true, "kv_channels": 12})),
    ] {
        imports(&Model::fixture(name), &want);
    }
}

/// A field that is absent means what the config's class in transformers means.
#[test]
fn absent_fields_mean_what_transformers_means() {
    // In other shapes than the fixture's, as the class has it.
    for (name, field, says) in [
        ("qwen2", "num_key_value_heads", "\"num_key_value_heads\" is 32"),
        ("qwen3", "num_key_value_heads", "\"num_key_value_heads\" is 32"),
        ("qwen3", "head_dim", "[1280, 48]"),
    ] {
        let text = refusal(&changed(name, json!({field: null})));
        assert!(text.contains(says), "{name} without {field}: {text}");
    }
}

#[test]
fn what_they_do_not_convert_is_refused_by_name() {
    for (name, changes, says) in [
        ("qwen2", json!({"use_sliding_window": true, "sliding_window": 4}), "use_sliding_window"),
        ("qwen2", json!({"attention_bias": false}), "attention_bias"),
        ("qwen3", json!({"layer_types": ["full_attention", "sliding_attention", "x"]}), "layer"),
        ("qwen3", json!({"hidden_act": "gelu"}), "hidden_act"),
        ("qwen3", json!({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}), "longrope"),
    ] {
        let text = refusal(&changed(name, changes.clone()));
        assert!(text.contains(says), "{changes}: {text}");
    }
}

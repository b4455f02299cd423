use crate::support::{imports, refusal};
use connector_tests::{Bench, Model, Tensor, config_of, encode, interleave_qkv, llama, options};
use serde_json::{Value, json};
use std::fs;

fn mistral(changes: Value) -> Model {
    llama(config_of("mistral", changes))
}

/// As in `config_of`, but null is null.
fn with(field: &str, value: Value) -> Model {
    let mut model = mistral(json!({}));
    model.config[field] = value;
    model
}

/// The length of sequences is `max_position_embeddings`, whatever the window; NeMo takes the window.
#[test]
fn the_window_is_no_length() {
    for (window, want) in [
        (json!(null), json!(null)),
        (json!(4096), json!([4095, 0])),
        (json!(1), json!([0, 0])),
        (json!(32768), json!([32767, 0])),
    ] {
        let model = with("sliding_window", window);
        imports(&model, &json!({"window_size": want, "seq_length": 512}));
    }
}

/// The defaults of the config's class in transformers, which are not those of Llama.
#[test]
fn absent_is_not_null() {
    imports(&mistral(json!({"sliding_window": null})), &json!({"window_size": [4095, 0]}));
    imports(&mistral(json!({"max_position_embeddings": null})), &json!({"seq_length": 131072}));
    imports(&mistral(json!({"rms_norm_eps": null})), &json!({"layernorm_epsilon": 1e-6}));
    imports(&mistral(json!({"rope_theta": null})), &json!({"rotary_base": 1e4}));
    let eight = json!({"num_key_value_heads": 8, "num_attention_heads": 16});
    let mut model = mistral(eight);
    model.config.as_object_mut().unwrap().shift_remove("num_key_value_heads");
    imports(&model, &json!({"num_query_groups": 8}));
    let mut model = mistral(json!({"num_key_value_heads": 4}));
    model.config["num_key_value_heads"] = json!(null);
    imports(&model, &json!({"num_query_groups": 4}));
}

/// NeMo 12B has heads of 128 where the model's width over their number is 160, Ministral 3B of 128
/// where it is 96.
#[test]
fn heads_may_have_any_size() {
    for (changes, groups, head) in [
        (json!({"head_dim": 6}), 2, 6),
        (json!({"head_dim": 16, "num_key_value_heads": 1}), 1, 16),
        (json!({"num_key_value_heads": 4}), 4, 8),
    ] {
        let mut model = mistral(changes);
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        let [q, k, v] = ["q", "k", "v"].map(|name| {
            model.tensor(&format!("model.layers.1.self_attn.{name}_proj.weight")).bytes.clone()
        });
        let weights = bench.weights();
        let qkv = &weights["decoder.layers.1.self_attention.linear_qkv.weight"];
        assert!(qkv.bytes == interleave_qkv(&q, &k, &v, groups));
        let projection = &weights["decoder.layers.1.self_attention.linear_proj.weight"];
        assert_eq!(projection.shape, [32, 4 * head]);
        imports(&model, &json!({"kv_channels": head, "num_query_groups": groups}));
    }
    let mut model = mistral(json!({}));
    model.config["head_dim"] = json!(null);
    imports(&model, &json!({"kv_channels": 8}));
}

#[test]
fn what_is_another_model_is_refused() {
    let kinds = |a: &str, b: &str| json!([format!("{a}_attention"), format!("{b}_attention")]);
    for (changes, says) in [
        // Layers that differ: transformers does not look at the field in a Mistral.
        (
            json!({"layer_types": kinds("full", "sliding"), "sliding_window": 8}),
            "\"layer_types\" has a layer that is \"full_attention\"",
        ),
        // Without the field there is a window.
        (
            json!({"layer_types": kinds("sliding", "full"), "sliding_window": null}),
            "\"layer_types\" has a layer that is \"full_attention\"",
        ),
        (json!({"layer_types": ["full_attention"]}), "is for 1 layers, but there are 2"),
        (json!({"layer_types": "full"}), "\"layer_types\" is \"full\""),
        (
            json!({"use_sliding_window": false, "sliding_window": 8}),
            "\"use_sliding_window\" is false",
        ),
        (json!({"max_window_layers": 1}), "\"max_window_layers\""),
        (json!({"sliding_window": 0}), "\"sliding_window\" is 0; it should be from 1"),
        (json!({"sliding_window": -1}), "\"sliding_window\" is -1"),
        (json!({"sliding_window": "4096"}), "\"sliding_window\" is \"4096\""),
        (json!({"sliding_window": u64::MAX}), "\"sliding_window\" is 18446744073709551615"),
        (json!({"hidden_act": "gelu"}), "\"hidden_act\" is \"gelu\""),
        (json!({"attention_bias": true}), "\"attention_bias\""),
        (json!({"model_type": "mixtral"}), "\"model_type\" is \"mixtral\""),
        (json!({"num_local_experts": 8}), "\"num_local_experts\" is 8"),
        (json!({"quantization_config": {"quant_method": "awq"}}), "\"quantization_config\""),
        (json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}), "yarn"),
    ] {
        let text = refusal(&mistral(changes.clone()));
        assert!(text.contains(says), "{changes}: {text}");
    }
}

#[test]
fn what_changes_nothing_is_taken() {
    let sliding = json!(["sliding_attention", "sliding_attention"]);
    for changes in [
        json!({"attention_dropout": 0.1, "use_cache": false}),
        json!({"layer_types": sliding, "sliding_window": 8}),
        json!({"layer_types": sliding, "sliding_window": null}),
        json!({"use_sliding_window": true, "sliding_window": 8}),
    ] {
        Bench::new(&mistral(changes)).import(options(|_| {}));
    }
    let mut model = with("sliding_window", json!(null));
    model.config["use_sliding_window"] = json!(false);
    model.config["layer_types"] = json!(["full_attention", "full_attention"]);
    imports(&model, &json!({"window_size": null}));
}

#[test]
fn rotary_frequencies_that_are_stored_are_left_behind() {
    let mut model = mistral(json!({}));
    for layer in 0..2 {
        let name = format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq");
        model.add(Tensor::noise(&name, &[4]));
    }
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    let ignored = bench.conversion()["plan"]["ignored"].clone();
    assert_eq!(ignored[0][0], "model.layers.{0,1}.self_attn.rotary_emb.inv_freq", "{ignored}");
}

/// Mistral's repositories hold the model twice: as Hugging Face's shards, and in its own form.
#[test]
fn the_other_form_beside_the_shards_is_not_read() {
    let model = mistral(json!({}));
    let native = encode(&[Tensor::noise("tok_embeddings.weight", &[120, 32])]);
    for with_index in [true, false] {
        let bench = Bench::empty();
        model.write_shards(&bench.source(), 3, with_index);
        fs::write(bench.source().join("consolidated.safetensors"), &native).unwrap();
        fs::write(bench.source().join("params.json"), "{}").unwrap();
        let imported = bench.import(options(|_| {}));
        assert_eq!(bench.conversion()["source"]["files"].as_array().unwrap().len(), 3);
        assert!(imported.copied.contains(&"params.json".into()));
        assert!(!bench.out().join("context/consolidated.safetensors").exists());
    }
    let bench = Bench::new(&model);
    fs::write(bench.source().join("consolidated.safetensors"), &native).unwrap();
    bench.import(options(|_| {}));
    // Alone it is refused: the names are others.
    fs::remove_file(bench.source().join("model.safetensors")).unwrap();
    fs::remove_dir_all(bench.out()).unwrap();
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(text.contains("tok_embeddings.weight"), "{text}");
}

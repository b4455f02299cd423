use crate::support::{imports, refusal};
use connector_tests::{Bench, Model, config_of, interleave_qkv, llama, options};
use serde_json::{Value, json};

/// A Gemma; the fixture's config leaves out what is the default, that the embedding is tied.
fn gemma(mut changes: Value) -> Model {
    let fields = changes.as_object_mut().unwrap();
    fields.entry("tie_word_embeddings").or_insert(json!(true));
    llama(config_of("gemma", changes))
}

#[test]
fn what_it_computes_is_in_the_config() {
    imports(
        &Model::fixture("gemma"),
        &json!({
            "layernorm_zero_centered_gamma": true, "apply_embedding_scaling": true,
            "activation_func": "gelu_pytorch_tanh", "gated_linear_unit": true,
            "share_embeddings_and_output_weights": true, "kv_channels": 256,
            "num_query_groups": 1, "seq_length": 256, "rotary_base": 1e4, "vocab_size": 100,
        }),
    );
}

/// 2B has one group, 7B as many as heads.
#[test]
fn one_group_or_one_for_each_head() {
    for (groups, head) in [(1, 256), (2, 256), (2, 16)] {
        let mut model = gemma(json!({"num_key_value_heads": groups, "head_dim": head}));
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        let [q, k, v] = ["q", "k", "v"].map(|name| {
            model.tensor(&format!("model.layers.0.self_attn.{name}_proj.weight")).bytes.clone()
        });
        let qkv = &bench.weights()["decoder.layers.0.self_attention.linear_qkv.weight"];
        assert!(qkv.bytes == interleave_qkv(&q, &k, &v, groups));
    }
    // Absent they are 16 and 256.
    let mut model = gemma(json!({"num_attention_heads": 16, "num_key_value_heads": 16}));
    for name in ["num_key_value_heads", "head_dim", "max_position_embeddings"] {
        model.config.as_object_mut().unwrap().shift_remove(name);
    }
    imports(&model, &json!({"num_query_groups": 16, "kv_channels": 256, "seq_length": 8192}));
}

/// Norms are stored as their distance from one on both sides.
#[test]
fn norms_are_copied_as_they_are() {
    let mut model = Model::fixture("gemma");
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    let weights = bench.weights();
    for (name, source) in [
        ("decoder.final_layernorm.weight", "model.norm.weight"),
        (
            "decoder.layers.1.self_attention.linear_qkv.layer_norm_weight",
            "model.layers.1.input_layernorm.weight",
        ),
        (
            "decoder.layers.1.mlp.linear_fc1.layer_norm_weight",
            "model.layers.1.post_attention_layernorm.weight",
        ),
    ] {
        assert!(weights[name].bytes == model.tensor(source).bytes, "{name}");
    }
}

/// Two fields name the activation. Gemma 1's files say `gelu` and mean the approximation.
#[test]
fn the_activation_is_what_the_files_mean() {
    const TANH: &str = "gelu_pytorch_tanh";
    for (act, activation, want) in [
        (json!(TANH), json!(TANH), Some(TANH)),
        (json!(TANH), Value::Null, Some(TANH)),
        (Value::Null, json!(TANH), Some(TANH)),
        (Value::Null, Value::Null, Some(TANH)),
        (json!("gelu"), Value::Null, Some(TANH)),
        (json!("gelu"), json!(TANH), Some(TANH)),
        (json!("gelu"), json!("gelu"), Some("gelu")),
        (json!(TANH), json!("gelu"), None),
        (Value::Null, json!("gelu"), None),
        (json!("silu"), Value::Null, None),
        (json!("silu"), json!(TANH), None),
        (json!(TANH), json!("relu"), None),
    ] {
        let absent = gemma(json!({"hidden_act": act, "hidden_activation": activation}));
        let mut null = absent.clone();
        null.config["hidden_act"] = act;
        null.config["hidden_activation"] = activation;
        for model in [absent, null] {
            match want {
                Some(want) => imports(&model, &json!({"activation_func": want})),
                None => {
                    let text = refusal(&model);
                    assert!(text.contains("is not clear: \"hidden_activation\" is"), "{text}");
                    assert!(text.contains("(1 finding)"), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_head_that_is_stored_must_be_the_embedding() {
    let mut model = Model::fixture("gemma");
    let head = model.tensor("model.embed_tokens.weight").named("lm_head.weight");
    model.add(head);
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    assert!(!bench.weights().contains_key("output_layer.weight"));
    assert_eq!(bench.conversion()["plan"]["compared"], json!(["lm_head.weight"]));
    model.tensor("lm_head.weight").bytes[0] ^= 1;
    let text = refusal(&model);
    assert!(text.contains("must hold the same bytes as model.embed_tokens.weight"), "{text}");

    // Untied, which the family allows, it is a parameter of its own.
    let bench = Bench::new(&gemma(json!({"tie_word_embeddings": false})));
    bench.import(options(|_| {}));
    assert!(bench.weights().contains_key("output_layer.weight"));
}

#[test]
fn attention_may_have_biases() {
    let bench = Bench::new(&gemma(json!({"attention_bias": true})));
    bench.import(options(|_| {}));
    assert!(bench.weights().contains_key("decoder.layers.1.self_attention.linear_qkv.bias"));
}

#[test]
fn what_is_another_model_is_refused() {
    for (changes, says) in [
        (json!({"use_bidirectional_attention": true}), "\"use_bidirectional_attention\" is true"),
        (json!({"model_type": "gemma2"}), "\"model_type\" is \"gemma2\""),
        (json!({"sliding_window": 4096}), "\"sliding_window\" is 4096"),
        (json!({"query_pre_attn_scalar": 256}), "\"query_pre_attn_scalar\" is 256"),
        (json!({"attn_logit_softcapping": 50.0}), "\"attn_logit_softcapping\" is 50.0"),
    ] {
        let text = refusal(&gemma(changes.clone()));
        assert!(text.contains(says), "{changes}: {text}");
    }
    imports(&gemma(json!({"use_bidirectional_attention": false})), &json!({}));
}

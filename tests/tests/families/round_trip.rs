//! `config.json` → the model's config → `config.json`.

use crate::support::fields;
use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::export_config;
use connector_core::families::{HfGemma, HfLlama, HfMistral, HfMixtral};
use connector_core::gpt::GptConfig;
use connector_core::schema::Model as _;
use connector_core::{ModelConnector, Result};
use connector_tests::{Bench, Model, Tensor, fixture};
use serde_json::{Value, json};
use std::fs;

struct Family {
    fixture: &'static str,
    /// The other spelling of the fixture's config.
    variant: &'static str,
    config: fn(&HfCheckpoint) -> Result<GptConfig>,
    export_config: fn(&GptConfig, Option<&Value>) -> Result<Value>,
}

fn family<C>(fixture: &'static str, variant: &'static str) -> Family
where
    C: ModelConnector,
    C::Model: connector_core::schema::Model<Config = GptConfig>,
{
    Family { fixture, variant, config: C::config, export_config: export_config::<C> }
}

fn families() -> [Family; 5] {
    [
        family::<HfLlama>("llama", "transformers5"),
        family::<HfLlama>("llama3_tied", "transformers4"),
        family::<HfMistral>("mistral", "transformers5"),
        family::<HfMixtral>("mixtral", "transformers5"),
        family::<HfGemma>("gemma", "transformers5"),
    ]
}

impl Family {
    fn originals(&self) -> [Value; 2] {
        let variant = format!("variants/config.{}.json", self.variant);
        ["hf/config.json", &variant].map(|file| {
            let text = fs::read(fixture(&format!("{}/{file}", self.fixture))).unwrap();
            serde_json::from_slice(&text).unwrap()
        })
    }

    #[track_caller]
    fn read(&self, config: &Value) -> GptConfig {
        let model = Model {
            config: config.clone(),
            tensors: vec![Tensor::noise("x", &[1])],
            ..Model::default()
        };
        let bench = Bench::new(&model);
        let checkpoint = HfCheckpoint::open(bench.source()).unwrap();
        let read = (self.config)(&checkpoint).unwrap_or_else(|e| panic!("{config}: {e}"));
        assert!(checkpoint.findings().is_empty(), "{config}: {:?}", checkpoint.findings());
        read
    }
}

fn json_of(config: &GptConfig) -> Value {
    serde_json::to_value(config).unwrap()
}

fn changed(config: &GptConfig, field: &str, value: Value) -> GptConfig {
    let mut fields = json_of(config);
    fields[field] = value;
    serde_json::from_value(fields).unwrap()
}

#[test]
fn the_original_comes_back_as_it_is() {
    for family in families() {
        for original in family.originals() {
            let config = family.read(&original);
            let back = (family.export_config)(&config, Some(&original)).unwrap();
            assert_eq!(back, original);
            assert_eq!(back.to_string(), original.to_string(), "in its order too");
        }
    }
}

/// Where one value has several spellings or none, the original's stays.
#[test]
fn spellings_of_the_original_stay() {
    let [mut llama, _] = families()[0].originals();
    llama["hidden_act"] = json!("swish");
    llama["architectures"] = json!(["LLaMAForCausalLM"]);
    llama["rope_scaling"] = json!({"type": "linear", "factor": 2});
    let [mut gemma, _] = families()[4].originals();
    gemma["hidden_act"] = json!("gelu");
    gemma["hidden_activation"] = json!(null);
    let [mut mistral, _] = families()[2].originals();
    mistral.as_object_mut().unwrap().shift_remove("sliding_window");
    for (family, original) in [(0, llama), (4, gemma), (2, mistral)] {
        let family = &families()[family];
        let config = family.read(&original);
        assert_eq!((family.export_config)(&config, Some(&original)).unwrap(), original);
    }
}

#[test]
fn without_the_original_every_field_that_the_model_knows_is_there() {
    for family in families() {
        for original in family.originals() {
            let config = family.read(&original);
            let written = (family.export_config)(&config, None).unwrap();
            assert_eq!(family.read(&written), config);
            for (name, value) in fields(&written) {
                // In the spelling of transformers 4.
                let same = match (name.as_str(), original.get("rope_parameters")) {
                    ("rope_theta", Some(rope)) => rope.get("rope_theta"),
                    ("torch_dtype", Some(_)) => original.get("dtype"),
                    ("rope_scaling", Some(_)) => continue,
                    (name, _) => original.get(name),
                };
                if let Some(same) = same.filter(|same| !same.is_null()) {
                    assert_eq!(value, same, "{name} of {}", family.fixture);
                }
            }
            let only: Vec<_> =
                fields(&original).keys().filter(|name| written.get(name).is_none()).collect();
            let known = [
                "attention_dropout",
                "bos_token_id",
                "eos_token_id",
                "pad_token_id",
                "transformers_version",
                "use_cache",
                "output_router_logits",
                "use_bidirectional_attention",
                "pretraining_tp",
                "dtype",
                "rope_parameters",
            ];
            let lost: Vec<_> = only.iter().filter(|name| !known.contains(&name.as_str())).collect();
            assert!(lost.is_empty(), "{}: {lost:?}", family.fixture);
        }
    }
}

/// Whatever changes in the model's config changes in the file, in its own spelling, and nothing
/// else does.
#[test]
fn what_changes_is_written() {
    let scaled = json!({"rope_type": "linear", "scale_factor": 3.0});
    let dense = [
        ("num_layers", json!(7)),
        ("hidden_size", json!(64)),
        ("ffn_hidden_size", json!(72)),
        ("num_query_groups", json!(1)),
        ("kv_channels", json!(10)),
        ("seq_length", json!(1000)),
        ("vocab_size", json!(98)),
        ("share_embeddings_and_output_weights", json!(true)),
        ("share_embeddings_and_output_weights", json!(false)),
        ("layernorm_epsilon", json!(1.5e-5)),
        ("rotary_base", json!(123456.5)),
        ("rope_scaling", scaled),
        ("init_method_std", json!(0.006)),
        ("params_dtype", json!("float64")),
    ];
    let own: [(&str, &[(&str, Value)]); 5] = [
        ("llama", &[("attention_bias", json!(true)), ("mlp_bias", json!(true))]),
        ("llama3_tied", &[("rope_scaling", Value::Null)]),
        ("mistral", &[("window_size", json!([7, 0]))]),
        (
            "mixtral",
            &[
                ("window_size", json!([7, 0])),
                ("num_moe_experts", json!(9)),
                ("moe_router_topk", json!(1)),
                ("moe_aux_loss_coeff", json!(0.5)),
                ("moe_input_jitter_eps", json!(0.25)),
            ],
        ),
        ("gemma", &[("attention_bias", json!(true)), ("activation_func", json!("gelu"))]),
    ];
    for (family, (fixture, own)) in families().iter().zip(own) {
        assert_eq!(family.fixture, fixture);
        for original in family.originals() {
            let config = family.read(&original);
            for (field, value) in dense.iter().chain(own) {
                let mut wanted = changed(&config, field, value.clone());
                if *field == "ffn_hidden_size" && wanted.num_moe_experts.is_some() {
                    wanted.moe_ffn_hidden_size = Some(wanted.ffn_hidden_size);
                }
                let written = (family.export_config)(&wanted, Some(&original));
                let written = written.unwrap_or_else(|e| panic!("{fixture} {field}: {e}"));
                let divisor = json!(wanted.make_vocab_size_divisible_by);
                let read = changed(&family.read(&written), "make_vocab_size_divisible_by", divisor);
                assert_eq!(read, wanted, "{fixture}");
                let new = original.get("rope_parameters").is_some();
                assert!(!new || written.get("rope_theta").is_none(), "{written}");
                assert!(!new || written.get("torch_dtype").is_none(), "{written}");
                assert!(new || written.get("rope_parameters").is_none(), "{written}");
                let differ = |name: &&String| written.get(*name) != original.get(*name);
                let names = fields(&written).keys().chain(fields(&original).keys());
                let mut names: Vec<&String> = names.filter(differ).collect();
                names.sort_unstable();
                names.dedup();
                assert!(names.len() <= 3, "{fixture} {field}: {names:?} in {written}");
            }
        }
    }
}

/// Padding and the names of experts are Megatron's own; nothing of them is in the file.
#[test]
fn what_only_megatron_has_is_not_written() {
    let family = &families()[3];
    let [original, _] = family.originals();
    let config = family.read(&original);
    let padded = changed(&config, "make_vocab_size_divisible_by", json!(128));
    let padded = changed(&padded, "moe_grouped_gemm", json!(true));
    assert_eq!((family.export_config)(&padded, Some(&original)).unwrap(), original);
    let written = (family.export_config)(&padded, None).unwrap();
    assert_eq!(written, (family.export_config)(&config, None).unwrap());
    assert_eq!(written["vocab_size"], 97);
}

/// A file that would mean another model is not written.
#[test]
fn what_a_family_cannot_say_is_an_error() {
    for (number, field, value) in [
        (0, "window_size", json!([4095, 0])),
        (0, "num_moe_experts", json!(8)),
        (0, "layernorm_zero_centered_gamma", json!(true)),
        (0, "apply_embedding_scaling", json!(true)),
        (0, "normalization", json!("LayerNorm")),
        (0, "gated_linear_unit", json!(false)),
        (0, "position_embedding_type", json!("alibi")),
        (2, "attention_bias", json!(true)),
        (2, "window_size", json!([4095, 1])),
        (3, "ffn_hidden_size", json!(8)),
        (3, "moe_router_pre_softmax", json!(true)),
        (4, "apply_embedding_scaling", json!(false)),
        (4, "layernorm_zero_centered_gamma", json!(false)),
        (4, "mlp_bias", json!(true)),
    ] {
        let family = &families()[number];
        let [original, _] = family.originals();
        let config = changed(&family.read(&original), field, value.clone());
        for original in [Some(&original), None] {
            let error = (family.export_config)(&config, original).unwrap_err().to_string();
            assert!(error.contains(&format!("\"{field}\" is")), "{error}");
            assert!(error.contains("which config.json would not say"), "{error}");
        }
    }
    // What makes no model at all is refused by the same checks as on import.
    for (number, field, value, says) in [
        (0, "activation_func", json!("gelu"), "hidden_act"),
        (2, "num_query_groups", json!(3), "num_key_value_heads"),
        (3, "moe_router_topk", json!(5), "num_experts_per_tok"),
        (4, "activation_func", json!("silu"), "hidden_activation"),
    ] {
        let family = &families()[number];
        let [original, _] = family.originals();
        let config = changed(&family.read(&original), field, value);
        let error = (family.export_config)(&config, Some(&original)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Files from before a field was known still say what they said.
#[test]
fn older_model_configs_parse() {
    let family = &families()[0];
    let [original, _] = family.originals();
    let config = family.read(&original);
    let old = json_of(&config);
    for new in ["window_size", "num_moe_experts", "layernorm_zero_centered_gamma"] {
        assert!(old.get(new).is_none(), "{new} is off and not written");
    }
    assert_eq!(serde_json::from_value::<GptConfig>(old).unwrap(), config);
    assert!(connector_core::families::LlamaModel::instance(&config).is_some());
}

//! What was imported exports to what it was imported from.

use connector_core::plan::FindingKind;
use connector_core::store::Dtype;
use connector_core::{Error, Refusal, store};
use connector_tests::{
    Bench, Model, Stored, assert_same_tensors, config, encode, export_options, fixture, llama,
    options, read_tensors, tree,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const FIXTURES: [&str; 2] = ["llama", "llama3_tied"];

fn imported(model: &Model) -> Bench {
    let bench = Bench::new(model);
    bench.import(options(|_| {}));
    bench
}

fn json_file(path: impl AsRef<std::path::Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Changes a line of `model.yaml`.
fn edit(bench: &Bench, from: &str, to: &str) {
    let path = bench.out().join("context/model.yaml");
    let yaml = fs::read_to_string(&path).unwrap();
    assert!(yaml.contains(from), "{from} in {yaml}");
    fs::write(path, yaml.replacen(from, to, 1)).unwrap();
}

/// Takes the tensors of the import, changed, as its only file.
fn reweigh(bench: &Bench, change: impl FnOnce(&mut Model)) {
    let mut model = Model::default();
    for (name, stored) in bench.weights() {
        let Stored { dtype, shape, bytes } = stored;
        model.add(connector_tests::Tensor { name, dtype, shape, bytes });
    }
    change(&mut model);
    let path = bench.out().join("weights/model.safetensors");
    fs::write(path, encode(&model.tensors)).unwrap();
}

fn refusal(bench: &Bench) -> Refusal {
    match bench.refuse_export(export_options(|_| {})) {
        Error::Refused(refusal) => refusal,
        other => panic!("{other}"),
    }
}

#[test]
fn the_fixtures_come_back_bit_for_bit_with_all_their_files() {
    for name in FIXTURES {
        let model = Model::fixture(name);
        let bench = imported(&model);
        let exported = bench.export(export_options(|_| {}));
        let want = read_tensors(&fixture(&format!("{name}/hf")));
        assert_same_tensors(&read_tensors(&bench.back()), &want);
        let config = fs::read(bench.back().join("config.json")).unwrap();
        assert!(config == fs::read(bench.source().join("config.json")).unwrap(), "verbatim");
        for (file, bytes) in &model.files {
            assert_eq!(&fs::read(bench.back().join(file)).unwrap(), bytes, "{file}");
        }
        let names: Vec<String> = tree(&bench.back()).into_keys().collect();
        assert_eq!(names.len(), model.files.len() + 3, "{names:?}");
        assert_eq!(exported.copied, model.files.keys().cloned().collect::<Vec<_>>());

        let record = json_file(bench.back().join("conversion.json"));
        assert_eq!(record["direction"], "export");
        assert_eq!(record["config"].get("changed"), None);
        assert!(record["config"]["carried"].get("bos_token_id").is_some());
    }
}

#[test]
fn an_export_imports_to_the_same_checkpoint() {
    for name in FIXTURES {
        let bench = imported(&Model::fixture(name));
        bench.export(export_options(|_| {}));
        let again = bench.dir().join("again");
        connector_core::import_ckpt(bench.back(), &again, options(|_| {})).unwrap();
        assert_same_tensors(&read_tensors(&again.join("weights")), &bench.weights());
        let yaml = |dir: &std::path::Path| fs::read(dir.join("context/model.yaml")).unwrap();
        assert!(yaml(&again) == yaml(&bench.out()), "{name}");
        // Its record lies in `context/` now, and does not stand in the way.
        connector_core::export_ckpt(&again, bench.dir().join("third"), Default::default()).unwrap();
    }
}

#[test]
fn without_the_original_config_everything_the_model_knows_is_still_there() {
    for (name, kept) in [
        (
            "llama",
            json!({
                "hidden_act": "silu", "hidden_size": 48, "intermediate_size": 80, "head_dim": 8,
                "max_position_embeddings": 256, "num_attention_heads": 6, "num_hidden_layers": 2,
                "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_scaling": null,
                "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "float32",
                "vocab_size": 97, "initializer_range": 0.02, "attention_bias": false,
                "mlp_bias": false, "model_type": "llama", "architectures": ["LlamaForCausalLM"],
            }),
        ),
        (
            "llama3_tied",
            json!({
                "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
                "vocab_size": 160, "head_dim": 24,
                "rope_scaling": {
                    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
                },
            }),
        ),
    ] {
        let bench = imported(&Model::fixture(name));
        fs::remove_file(bench.out().join("context/config.json")).unwrap();
        bench.export(export_options(|_| {}));
        assert_same_tensors(
            &read_tensors(&bench.back()),
            &read_tensors(&fixture(&format!("{name}/hf"))),
        );
        let config = json_file(bench.back().join("config.json"));
        for (field, value) in kept.as_object().unwrap() {
            assert_eq!(&config[field], value, "{name}: {field}");
        }
        // The strongest witness: it imports to the same model.
        let again = bench.dir().join("again");
        connector_core::import_ckpt(bench.back(), &again, options(|_| {})).unwrap();
        let yaml = |dir: &std::path::Path| fs::read(dir.join("context/model.yaml")).unwrap();
        assert!(yaml(&again) == yaml(&bench.out()), "{name}");
    }
}

#[test]
fn what_was_changed_in_model_yaml_wins() {
    // An original in the older spelling.
    let bench = imported(&Model::fixture("llama"));
    edit(&bench, "rotary_base: 10000.0", "rotary_base: 20000.0");
    let exported = bench.export(export_options(|_| {}));
    let mut want = Model::fixture("llama").config;
    want["rope_theta"] = json!(20000.0);
    assert_eq!(json_file(bench.back().join("config.json")), want);
    let changed: Vec<_> = exported.config.changed.keys().cloned().collect();
    assert_eq!(changed, ["rope_theta"]);

    // In the newer one, it stays in that.
    let bench = imported(&Model::fixture("llama3_tied"));
    edit(&bench, "rotary_base: 500000.0", "rotary_base: 20000.0");
    edit(&bench, "scale_factor: 32.0", "scale_factor: 16.0");
    bench.export(export_options(|_| {}));
    let mut want = Model::fixture("llama3_tied").config;
    want["rope_parameters"]["rope_theta"] = json!(2e4);
    want["rope_parameters"]["factor"] = json!(16.0);
    assert_eq!(json_file(bench.back().join("config.json")), want);
}

#[test]
fn what_config_json_cannot_say_is_refused() {
    let bench = imported(&Model::fixture("llama"));
    edit(&bench, "normalization: RMSNorm", "normalization: LayerNorm");
    let text = refusal(&bench).to_string();
    assert!(
        text.contains("\"normalization\" is \"LayerNorm\"") && text.contains("back as \"RMSNorm\""),
        "{text}"
    );
}

#[test]
fn model_yaml_is_read_strictly() {
    for (from, to, says) in [
        ("hidden_size: 48", "hiden_size: 48", "hiden_size"),
        ("hidden_size: 48", "hidden_size: many", "\"hidden_size\": invalid type"),
        ("hidden_size: 48", "hidden_size: 48\n  moe_layers: 3", "\"moe_layers\" is no field"),
        (
            "num_layers: 2",
            "num_layers: 9000000000",
            "model.yaml: \"num_hidden_layers\" is 9000000000",
        ),
        ("config:", "confg:", "missing field `config`"),
        ("_target_: LlamaModel", "_target_: [", "is not a model's config"),
    ] {
        let bench = imported(&Model::fixture("llama"));
        edit(&bench, from, to);
        let text = refusal(&bench).to_string();
        assert!(text.contains(says), "{to}: {text}");
    }
    let bench = imported(&Model::fixture("llama"));
    edit(&bench, "LlamaModel", "nemo.collections.llm.gpt.model.llama.LlamaModel");
    bench.export(export_options(|_| {}));

    let bench = imported(&Model::fixture("llama"));
    edit(&bench, "LlamaModel", "UnheardOfModel");
    let error = bench.refuse_export(export_options(|_| {}));
    assert!(
        matches!(&error, Error::NoExporter { model, .. } if model == "UnheardOfModel"),
        "{error}"
    );

    let bench = imported(&Model::fixture("llama"));
    fs::remove_file(bench.out().join("context/model.yaml")).unwrap();
    assert!(refusal(&bench).to_string().contains("context/model.yaml: is not in the checkpoint"));
}

#[test]
fn a_cast_is_what_config_json_says() {
    for (name, field, was) in
        [("llama", "torch_dtype", "float32"), ("llama3_tied", "dtype", "bfloat16")]
    {
        let bench = imported(&Model::fixture(name));
        bench.export(export_options(|o| o.plan.dtype = Some(Dtype::F16)));
        let mut want = Model::fixture(name).config;
        assert_eq!(want[field], was);
        want[field] = json!("float16");
        assert_eq!(json_file(bench.back().join("config.json")), want);
        let tensors = read_tensors(&bench.back());
        assert!(tensors.values().all(|tensor| tensor.dtype == "F16"), "{tensors:?}");
    }
    // Cast on the way in: the weights say what they are.
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.plan.dtype = Some(Dtype::Bf16)));
    bench.export(export_options(|_| {}));
    assert_eq!(json_file(bench.back().join("config.json"))["torch_dtype"], "bfloat16");
}

#[test]
fn padding_is_pruned_or_kept_on_request() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.pad_vocab_to_multiple_of = Some(64)));
    assert_eq!(bench.weights()["embedding.word_embeddings.weight"].shape, [128, 48]);
    bench.export(export_options(|_| {}));
    let want = read_tensors(&fixture("llama/hf"));
    assert_same_tensors(&read_tensors(&bench.back()), &want);
    assert_eq!(json_file(bench.back().join("config.json"))["vocab_size"], 97);

    fs::remove_dir_all(bench.back()).unwrap();
    bench.export(export_options(|o| o.keep_vocab_padding = true));
    let kept = read_tensors(&bench.back());
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        assert_eq!(kept[name].shape, [128, 48], "{name}");
        let (rows, padding) = kept[name].bytes.split_at(want[name].bytes.len());
        assert!(rows == want[name].bytes && padding.iter().all(|byte| *byte == 0), "{name}");
    }
    let config = json_file(bench.back().join("config.json"));
    assert_eq!(config["vocab_size"], 128, "loaders want as many rows");
}

#[test]
fn shards_come_with_their_index() {
    let bench = imported(&Model::fixture("llama"));
    bench.export(export_options(|o| o.max_shard_size = 40_000));
    let want = read_tensors(&fixture("llama/hf"));
    assert_same_tensors(&read_tensors(&bench.back()), &want);
    let index = json_file(bench.back().join("model.safetensors.index.json"));
    let total: usize = want.values().map(|tensor| tensor.bytes.len()).sum();
    assert_eq!(index["metadata"]["total_size"], total);
    assert_eq!(index["weight_map"].as_object().unwrap().len(), want.len());
    let shards = fs::read_dir(bench.back()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().to_string_lossy().into_owned();
        name.starts_with("model-0000") && name.ends_with(".safetensors")
    });
    assert!(shards.count() > 2);
}

#[test]
fn sharded_weights_are_read() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.max_shard_size = 40_000));
    assert!(bench.out().join("weights/model.safetensors.index.json").exists());
    bench.export(export_options(|_| {}));
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&fixture("llama/hf")));
}

#[test]
fn biases_of_every_kind_come_back() {
    for (attention, mlp, tied, groups) in
        [(true, true, false, 2), (true, false, true, 6), (false, true, true, 1)]
    {
        let model = llama(config(json!({
            "attention_bias": attention, "mlp_bias": mlp, "tie_word_embeddings": tied,
            "num_key_value_heads": groups,
        })));
        let bench = imported(&model);
        bench.export(export_options(|_| {}));
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
        assert_eq!(json_file(bench.back().join("config.json")), model.config);
    }
}

#[test]
fn tensors_that_the_import_left_behind_are_not_made_up() {
    let mut model = llama(config(json!({"tie_word_embeddings": true})));
    let want: BTreeMap<String, Stored> = {
        let bench = Bench::new(&model);
        read_tensors(&bench.source())
    };
    model.add(model.tensors[0].named("lm_head.weight"));
    model.add(connector_tests::Tensor::noise("model.rotary_emb.inv_freq", &[4]));
    let bench = imported(&model);
    bench.export(export_options(|_| {}));
    assert_same_tensors(&read_tensors(&bench.back()), &want);
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_by_name() {
    type Spoil = fn(&mut Model);
    const FC2: &str = "decoder.layers.1.mlp.linear_fc2.weight";
    let cases: [(FindingKind, &str, &str, Spoil); 4] = [
        (
            FindingKind::MissingSource,
            "model.layers.1.mlp.down_proj.weight",
            "needs decoder.layers.1.mlp.linear_fc2.weight, which is not in the checkpoint",
            |m| drop(m.remove(FC2)),
        ),
        (FindingKind::UnusedTensor, "decoder.extra", "", |m| {
            m.add(connector_tests::Tensor::noise("decoder.extra", &[2]));
        }),
        (FindingKind::Shape, FC2, "[48, 80] under this config", |m| m.resize(FC2, 47)),
        (FindingKind::UnusedTensor, "decoder.final_norm.weight", "did you mean", |m| {
            m.rename("decoder.final_layernorm.weight", "decoder.final_norm.weight");
        }),
    ];
    for (kind, subject, note, spoil) in cases {
        let bench = imported(&Model::fixture("llama"));
        reweigh(&bench, spoil);
        let refusal = refusal(&bench);
        assert!(refusal.subject.contains("Llama exporter"), "{refusal}");
        let found = refusal.findings.iter().find(|f| f.kind == kind && f.subject == subject);
        let found = found.unwrap_or_else(|| panic!("no {kind:?} about {subject} in {refusal}"));
        assert!(found.notes.join(" ").contains(note), "{found}");
    }
    // Left out on purpose.
    let bench = imported(&Model::fixture("llama"));
    reweigh(&bench, |m| m.add(connector_tests::Tensor::noise("decoder.extra", &[2])));
    bench.export(export_options(|o| o.plan.ignore = vec!["decoder.extra".into()]));
}

#[test]
fn a_spoilt_original_config_is_named() {
    for (text, says) in [
        (&b"{"[..], "context/config.json: is not JSON"),
        (b"[]", "context/config.json: is not a JSON object"),
        (br#"{"hidden_size": 48}"#, "context/config.json: \"num_attention_heads\" is missing"),
    ] {
        let bench = imported(&Model::fixture("llama"));
        fs::write(bench.out().join("context/config.json"), text).unwrap();
        let text = refusal(&bench).to_string();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn outputs_are_apart_from_the_checkpoint_and_not_replaced_unasked() {
    let bench = imported(&Model::fixture("llama"));
    for inside in ["", "context/hf", "weights/hf"] {
        let output = bench.out().join(inside);
        let error = bench.unchanged(|| {
            let options = export_options(|o| o.overwrite = true.into());
            connector_core::export_ckpt(bench.out(), &output, options)
        });
        assert!(
            matches!(error, Error::Store(store::Error::NotSeparate { .. })),
            "{inside}: {error}"
        );
    }
    bench.export(export_options(|_| {}));
    let error = bench.refuse_export(export_options(|_| {}));
    assert!(matches!(error, Error::Store(store::Error::OutputExists { .. })), "{error}");
    bench.export(export_options(|o| o.overwrite = true.into()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_model_comes_back(
        (layers, groups, per_group, head) in (1usize..4, 1usize..4, 1usize..4, 1usize..6),
        (hidden, ffn, vocab) in (1usize..9, 1usize..9, 1usize..20),
        (tied, attention_bias, mlp_bias) in any::<(bool, bool, bool)>(),
        (multiple, shard) in (1usize..9, 100u64..20_000),
    ) {
        let model = llama(config(json!({
            "num_hidden_layers": layers, "num_key_value_heads": groups, "head_dim": head,
            "num_attention_heads": groups * per_group, "hidden_size": hidden,
            "intermediate_size": ffn, "vocab_size": vocab, "tie_word_embeddings": tied,
            "attention_bias": attention_bias, "mlp_bias": mlp_bias,
        })));
        let bench = Bench::new(&model);
        bench.import(options(|o| {
            o.pad_vocab_to_multiple_of = Some(multiple);
            o.max_shard_size = shard;
        }));
        bench.export(export_options(|o| o.max_shard_size = shard));
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
        prop_assert_eq!(json_file(bench.back().join("config.json")), model.config);
    }
}

#[test]
fn the_same_checkpoint_gives_the_same_bytes() {
    let bench = imported(&Model::fixture("llama"));
    bench.export(export_options(|o| o.engine.threads = 1));
    let first = connector_tests::contents(&bench.back()).unwrap();
    bench.export(export_options(|o| {
        o.engine.threads = 7;
        o.overwrite = true.into();
    }));
    assert!(connector_tests::contents(&bench.back()).unwrap() == first);
}

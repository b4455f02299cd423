//! The fixtures import to exactly what NeMo's own importer makes of them.

use connector_core::gpt::GptConfig;
use connector_tests::{
    Bench, Model, assert_same_tensors, contents, fixture, fixtures, golden, options, read_tensors,
    tree, variant,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// The fixture in the other spelling of its configs.
fn respelt(name: &str) -> Model {
    let mut model = Model::fixture(name);
    let config = variant(name, "config").expect("the other spelling");
    model.config = serde_json::from_slice(&config).unwrap();
    let tokenizer = variant(name, "tokenizer_config");
    model.files.extend(tokenizer.map(|text| ("tokenizer_config.json".into(), text)));
    model
}

fn yaml(bench: &Bench) -> Value {
    let text = fs::read_to_string(bench.out().join("context/model.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn the_fixtures_import_to_nemos_bytes() {
    for name in &fixtures() {
        let bench = Bench::empty();
        fs::create_dir(bench.source()).unwrap();
        for entry in fs::read_dir(fixture(&format!("{name}/hf"))).unwrap() {
            let path = entry.unwrap().path();
            fs::write(bench.source().join(path.file_name().unwrap()), fs::read(&path).unwrap())
                .unwrap();
        }
        bench.import(options(|_| {}));
        if let Some(golden) = golden(name) {
            assert_same_tensors(&bench.weights(), &golden);
        }
    }
}

/// Padded as NeMo does it, Mixtral has NeMo's shapes too.
#[test]
fn a_padded_vocabulary_has_nemos_shape_and_zeros() {
    let bench = Bench::new(&Model::fixture("mixtral"));
    bench.import(options(|o| o.pad_vocab_to_multiple_of = Some(128)));
    let (got, want) = (bench.weights(), read_tensors(&fixture("mixtral/nemo_state.safetensors")));
    for name in ["embedding.word_embeddings.weight", "output_layer.weight"] {
        assert_eq!(got[name].shape, want[name].shape);
        let rows = 97 * 32 * 2;
        assert!(got[name].bytes[..rows] == want[name].bytes[..rows]);
        assert!(got[name].bytes[rows..].iter().all(|byte| *byte == 0));
    }
}

/// Transformers 5 holds the experts of a layer in one tensor, and may save them so.
#[test]
fn fused_experts_give_the_same_state() {
    let bench = Bench::empty();
    fs::create_dir(bench.source()).unwrap();
    for entry in fs::read_dir(fixture("mixtral/variants/hf_fused")).unwrap() {
        let path = entry.unwrap().path();
        fs::write(bench.source().join(path.file_name().unwrap()), fs::read(&path).unwrap())
            .unwrap();
    }
    bench.import(options(|_| {}));
    assert_same_tensors(&bench.weights(), &golden("mixtral").unwrap());
}

#[test]
fn both_spellings_of_a_config_give_the_same_model() {
    for name in &fixtures() {
        let (usual, other) = (Bench::new(&Model::fixture(name)), Bench::new(&respelt(name)));
        usual.import(options(|_| {}));
        other.import(options(|_| {}));
        assert_same_tensors(&other.weights(), &usual.weights());
        assert_eq!(yaml(&other), yaml(&usual), "{name}");
        let records = [usual.conversion(), other.conversion()];
        assert_eq!(records[0]["plan_hash"], records[1]["plan_hash"]);
    }
}

#[test]
fn shards_and_one_file_give_the_same_tensors() {
    for name in &fixtures() {
        let model = Model::fixture(name);
        let Some(want) = golden(name) else { continue };
        for with_index in [true, false] {
            let bench = Bench::empty();
            model.write_shards(&bench.source(), 3, with_index);
            bench.import(options(|_| {}));
            assert_same_tensors(&bench.weights(), &want);
            assert_eq!(bench.conversion()["source"]["files"].as_array().unwrap().len(), 3);
        }
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        assert_same_tensors(&bench.weights(), &want);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for name in &fixtures() {
        let first = Bench::new(&Model::fixture(name));
        first.import(options(|o| o.engine.threads = 1));
        let want = contents(&first.out()).unwrap();
        assert!(want.contains_key("conversion.json"), "{:?}", want.keys());
        for threads in [1, 2, 7] {
            // Each bench has a directory of another name.
            let again = Bench::new(&Model::fixture(name));
            again.import(options(|o| o.engine.threads = threads));
            let got = contents(&again.out()).unwrap();
            assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
            let differ: Vec<_> = want.keys().filter(|file| got[*file] != want[*file]).collect();
            assert!(differ.is_empty(), "{name}, {threads} threads: {differ:?} differ");
        }
    }
}

#[test]
fn files_beside_the_tensors_are_copied_verbatim() {
    let mut model = Model::fixture("llama");
    model.files.insert("LICENSE".into(), b"take it\r\n".to_vec());
    model.files.insert("tokenizer.model".into(), vec![0, 255, 10, 13]);
    model.files.insert("chat_template.jinja".into(), "{{ ü }}".into());
    let bench = Bench::new(&model);
    // What is no part of the model is not copied.
    fs::write(bench.source().join("pytorch_model.bin"), "weights in another format").unwrap();
    let imported = bench.import(options(|_| {}));

    let mut want: BTreeMap<String, Vec<u8>> = model.files.clone();
    want.insert("config.json".into(), fs::read(bench.source().join("config.json")).unwrap());
    assert_eq!(imported.copied, want.keys().cloned().collect::<Vec<_>>());
    for (name, bytes) in &want {
        let copied = fs::read(bench.out().join("context").join(name)).unwrap();
        assert_eq!(&copied, bytes, "{name}");
    }
    let names: Vec<String> = tree(&bench.out().join("context")).into_keys().collect();
    assert_eq!(names.len(), want.len() + 1, "only model.yaml comes on top: {names:?}");
}

#[test]
fn the_record_says_what_was_done() {
    let bench = Bench::new(&Model::fixture("llama"));
    let imported = bench.import(options(|_| {}));
    let record = bench.conversion();
    assert_eq!(record, serde_json::to_value(&imported).unwrap());
    assert_eq!(record["schema"], "connector.conversion/1");
    assert_eq!(record["complete"], true);
    assert_eq!((&record["model"], &record["format"]), (&json!("LlamaModel"), &json!("hf")));
    let options = json!({"dtype": "auto", "ignore": [], "only": []});
    assert_eq!(record["options"], options);

    let rules = record["plan"]["rules"].as_array().unwrap();
    let steps = |label: &str| {
        rules.iter().find(|rule| rule["label"] == label).map(|rule| rule["steps"].clone())
    };
    assert_eq!(steps("q_proj, k_proj, v_proj → linear_qkv"), Some(json!(2)), "{rules:#?}");
    assert_eq!(steps("gate_proj, up_proj → linear_fc1"), Some(json!(2)));
    assert_eq!(steps("lm_head → output_layer"), Some(json!(1)));
    assert_eq!(record["plan"]["tensors"], 21);
    assert_eq!(record["plan"]["parameters"], 15);

    let config = &record["config"];
    assert_eq!(config["consumed"]["num_hidden_layers"], 2);
    assert_eq!(config["consumed"]["torch_dtype"], "float32");
    assert_eq!(config["defaulted"]["head_dim"], 8);
    assert_eq!(config["carried"]["bos_token_id"], 1);
    assert_eq!(config["carried"]["transformers_version"], "4.53.3");
    let all = ["consumed", "defaulted", "carried"];
    let told = |name: &String| all.iter().any(|sort| config[sort].get(name).is_some());
    let model = Model::fixture("llama");
    let untold: Vec<_> =
        model.config.as_object().unwrap().keys().filter(|name| !told(name)).collect();
    assert!(untold.is_empty(), "{untold:?}");
}

#[test]
fn the_record_tells_no_time_and_no_place() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.hash = true));
    let text = fs::read_to_string(bench.out().join("conversion.json")).unwrap();
    for place in [bench.dir().to_str().unwrap(), env!("CARGO_MANIFEST_DIR"), "/tmp", "/home"] {
        assert!(!text.contains(place), "{place} in {text}");
    }
    let record: Value = serde_json::from_str(&text).unwrap();
    let mut names = Vec::new();
    field_names(&record, &mut names);
    for word in ["time", "date", "host", "user", "path"] {
        assert!(!names.iter().any(|name| name.contains(word)), "{word} in {names:?}");
    }
}

fn field_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.push(name.clone());
                field_names(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| field_names(value, names)),
        _ => {}
    }
}

#[test]
fn model_yaml_reads_back_as_the_models_config() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|_| {}));
    let model = yaml(&bench);
    assert_eq!(model["_target_"], "LlamaModel");
    let config = &model["config"];
    for (field, want) in [
        ("num_layers", json!(2)),
        ("hidden_size", json!(48)),
        ("ffn_hidden_size", json!(80)),
        ("num_attention_heads", json!(6)),
        ("num_query_groups", json!(2)),
        ("kv_channels", json!(8)),
        ("seq_length", json!(256)),
        ("vocab_size", json!(97)),
        ("make_vocab_size_divisible_by", json!(1)),
        ("share_embeddings_and_output_weights", json!(false)),
        ("layernorm_epsilon", json!(1e-5)),
        ("rotary_base", json!(10000.0)),
        ("normalization", json!("RMSNorm")),
        ("params_dtype", json!("float32")),
    ] {
        assert_eq!(config[field], want, "{field}");
    }
    assert!(config.get("rope_scaling").is_none());
    let typed: GptConfig = serde_json::from_value(config.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), *config);
}

/// NeMo reads the factor only.
#[test]
fn all_fields_of_llama3s_rope_scaling_are_kept() {
    let scaling = json!({
        "rope_type": "llama3",
        "scale_factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "old_context_len": 64,
    });
    for model in [Model::fixture("llama3_tied"), respelt("llama3_tied")] {
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        let config = &yaml(&bench)["config"];
        assert_eq!(config["rope_scaling"], scaling);
        assert_eq!(config["rotary_base"], json!(500000.0));
        assert_eq!(config["kv_channels"], 24);
        assert_eq!(config["share_embeddings_and_output_weights"], true);
    }
}

/// A snapshot of the hub's cache is made of links, which lead to files with other names.
#[cfg(unix)]
#[test]
fn a_snapshot_of_the_hubs_cache_is_imported_through_its_links() {
    let bench = Bench::empty();
    let repository = bench.source().join("models--some-org--tiny-llama");
    let (blobs, snapshot) = (repository.join("blobs"), repository.join("snapshots/27d67f1b"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    let model = Model::fixture("llama3_tied");
    let plain = Bench::empty();
    model.write_shards(&plain.source(), 2, true);
    for (number, entry) in fs::read_dir(plain.source()).unwrap().enumerate() {
        let path = entry.unwrap().path();
        let blob = blobs.join(format!("{number:064}"));
        fs::copy(&path, &blob).unwrap();
        let link = std::path::Path::new("../../blobs").join(blob.file_name().unwrap());
        std::os::unix::fs::symlink(link, snapshot.join(path.file_name().unwrap())).unwrap();
    }
    let before = tree(&bench.source());
    connector_core::import_ckpt(&snapshot, bench.out(), options(|_| {})).unwrap();
    assert!(tree(&bench.source()) == before);
    let want = read_tensors(&fixture("llama3_tied/nemo_state.safetensors"));
    assert_same_tensors(&bench.weights(), &want);
    let source = &bench.conversion()["source"];
    assert_eq!(
        (&source["repository"], &source["revision"]),
        (&json!("some-org/tiny-llama"), &json!("27d67f1b"))
    );
    for name in model.files.keys() {
        let copied = fs::symlink_metadata(bench.out().join("context").join(name)).unwrap();
        assert!(copied.is_file(), "{name} is a copy, not a link");
    }
}

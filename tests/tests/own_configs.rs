//! Configs as the frameworks' own importers wrote them are read back: of each fixture that has one, in
//! place of what connector wrote.

use connector_core::Planned;
use connector_core::checkpoint::Flavor;
use connector_core::connector::{TorchDist, VerifyOptions, diff};
use connector_core::engine::NoProgress;
use connector_tests::{Bench, Model, accepting, export_options, fixture, fixtures, options, tree};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

fn read(name: &str, file: &str) -> Option<Map<String, Value>> {
    let bytes = fs::read(fixture(name).join(file)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A Python object by its path, as YAML has it.
fn object(path: &str) -> Value {
    json!({ "_target_": path, "_call_": false })
}

/// The model's config that an import of the directory has, but for what only training goes by.
fn config(dir: &Path) -> Value {
    let planned = Planned::import(dir, options(|_| {})).unwrap();
    let mut config = planned.model_config().json().clone();
    let training = ["init_method_std", "moe_aux_loss_coeff", "moe_router_load_balancing_type"];
    for field in [&training[..], &["params_dtype"]].concat() {
        config.as_object_mut().unwrap().remove(field);
    }
    config
}

/// What no connector converts, and the field that says so: windows in a pattern of the class's own,
/// layers that predict further tokens, YaRN in fields of the class's own, and norms over all heads, which
/// no field says.
const REFUSED: [(&str, &str); 4] = [
    ("gemma3_text", "interleaved_attn_pattern"),
    ("glm4_moe", "mtp_num_layers"),
    ("gpt_oss", "yarn_rotary_scaling_factor"),
    ("olmoe", "config.json would not say"),
];

#[test]
fn bridges_own() {
    let mut seen = 0;
    for name in fixtures() {
        let Some(mut own) = read(&name, "bridge_config.json") else { continue };
        let bench = Bench::new(&Model::fixture(&name));
        let flavor = TorchDist::default().flavor(Flavor::MegatronBridge);
        bench.import(accepting(&bench.source(), options(|o| o.torch_dist = Some(flavor))));
        let folder = bench.out().join("iter_0000000");
        let file = folder.join("run_config.yaml");
        let mut run: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let provider = own.remove("provider").unwrap();
        let activation = match own["activation_func"].as_str().unwrap() {
            "silu" => "torch.nn.functional.silu".into(),
            name => format!("megatron.core.activations.{name}"),
        };
        own.insert("activation_func".into(), object(&activation));
        own.insert("_target_".into(), provider);
        run["model"] = own.into();
        fs::write(&file, run.to_string()).unwrap();
        for file in tree(&bench.out()).into_keys() {
            if ["model.yaml", "config.json", "conversion.json"].iter().any(|n| file.ends_with(n)) {
                fs::remove_file(bench.out().join(file)).unwrap();
            }
        }
        seen += 1;
        if let Some((_, field)) = REFUSED.iter().find(|(other, _)| *other == name) {
            let refused = bench.refuse_export(export_options(|_| {})).to_string();
            assert!(refused.contains(field), "{name}: {refused}");
            continue;
        }
        bench.export(export_options(|_| {}));
        let same = diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress);
        assert!(same.unwrap().is_equal(), "{name}");
        let mut want = config(&bench.source());
        if name == "gemma2" {
            // Bridge counts the tokens before the token itself: its window is one wider.
            want["window_size"] = json!([8, 0]);
        }
        assert_eq!(config(&bench.back()), want, "{name}");
    }
    assert!(seen > 5, "{seen}");
}

/// What NeMo's importers do not take from `config.json`: the defaults of their classes.
const NEMO_SAYS: [(&str, &str, &str); 5] = [
    ("gemma", "/seq_length", "8192"),
    ("llama3_tied", "/rope_scaling/old_context_len", "8192"),
    ("llama4_text", "/attention_chunk_size", "8192"),
    ("phi3", "/seq_length", "4096"),
    ("starcoder2", "/activation_func", "\"gelu\""),
];

/// Where NeMo's class leaves to its run how long sequences are.
const UNSAID: [&str; 1] = ["mistral"];

#[test]
fn nemos_own() {
    let mut seen = 0;
    for name in fixtures() {
        let Some(mut own) = read(&name, "nemo_config.json") else { continue };
        let bench = Bench::new(&Model::fixture(&name));
        let nemo = options(|o| o.torch_dist = Some(TorchDist::default()));
        bench.import(accepting(&bench.source(), nemo));
        let file = bench.out().join("context/model.yaml");
        let mut model: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        for field in ["activation_func", "params_dtype", "autocast_dtype"] {
            if let Some(path) = own.get(field).and_then(Value::as_str) {
                own[field] = object(path);
            }
        }
        // NeMo leaves it to the tokenizer, and without it a config has to be given.
        if own["vocab_size"].is_null() {
            own["vocab_size"] = Model::fixture(&name).config["vocab_size"].clone();
        }
        // NeMo stores a tied output layer too, and ours has none.
        if name == "starcoder2" {
            own["share_embeddings_and_output_weights"] = json!(true);
        }
        let class = own.remove("_class").unwrap();
        own.insert("_target_".into(), class);
        model["config"] = own.into();
        fs::write(&file, model.to_string()).unwrap();
        fs::remove_file(bench.out().join("context/config.json")).unwrap();
        fs::remove_file(bench.out().join("conversion.json")).unwrap();
        seen += 1;
        if UNSAID.contains(&name.as_str()) {
            let refused = bench.refuse_export(export_options(|_| {})).to_string();
            assert!(refused.contains("\"seq_length\" is not given"), "{name}: {refused}");
            continue;
        }
        bench.export(export_options(|_| {}));
        let same = diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress);
        assert!(same.unwrap().is_equal(), "{name}");
        let mut want = config(&bench.source());
        for (_, field, value) in NEMO_SAYS.iter().filter(|(other, ..)| *other == name) {
            *want.pointer_mut(field).unwrap() = serde_json::from_str(value).unwrap();
        }
        assert_eq!(config(&bench.back()), want, "{name}");
    }
    assert!(seen > 5, "{seen}");
}

//! A low-rank adapter trained.

use crate::support::{Desk, files, logits, losses};
use connector_core::model::{LoadOptions, Loaded};
use connector_core::store::Overwrite;
use connector_core::train::{Adapted, Lora, Trainer};
use connector_core::{DeviceChoice, ExportOptions, export_ckpt};
use connector_tests::{Child, Ended, fixture, read_tensors};
use std::fs;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

fn lora(desk: &Desk, name: &str) -> Trainer {
    let peft = Lora { dim: 4, alpha: 8.0, ..Lora::default() };
    Trainer { peft: Some(peft), ..desk.trainer(name) }
}

/// An adapter begins as nothing, learns, and leaves its model as it was.
#[test]
fn an_adapter_learns_and_the_model_stays() {
    let desk = Desk::of("llama");
    let before = files(&desk.base);
    let full = desk.run(&Trainer { max_steps: 1, ..desk.trainer("full") }).unwrap();
    let tuned = desk.run(&lora(&desk, "lora")).unwrap();
    assert_eq!(files(&desk.base), before);
    assert!((tuned.records[0].loss - full.records[0].loss).abs() < 1e-6);
    assert!(tuned.records[5].loss < 0.9 * tuned.records[0].loss);

    // Saved alone, under NeMo's names.
    let names: Vec<String> =
        read_tensors(&tuned.checkpoint.join("weights/model.safetensors")).into_keys().collect();
    assert_eq!(names.len(), 2 * 4 * 2);
    assert_eq!(names[0], "decoder.layers.0.mlp.linear_fc1.adapter.linear_in.weight");
    assert_eq!(names[1], "decoder.layers.0.mlp.linear_fc1.adapter.linear_out.weight");
    let metadata =
        fs::read_to_string(tuned.checkpoint.join("weights/adapter_metadata.json")).unwrap();
    assert!(metadata.contains("\"model_ckpt_path\": \""), "{metadata}");
}

#[test]
fn an_adapter_goes_on_as_if_it_had_not_stopped() {
    let desk = Desk::of("llama3_tied");
    let unbroken = desk.run(&lora(&desk, "whole")).unwrap();
    let broken = lora(&desk, "broken");
    for step in [2, 3] {
        assert!(!desk.stop_after(&broken, step).unwrap().is_complete);
    }
    let tuned = desk.run(&broken).unwrap();
    assert_eq!(tuned.resumed_at, 3);
    assert_eq!(losses(&tuned), losses(&unbroken));
    assert_eq!(files(&tuned.checkpoint), files(&unbroken.checkpoint));
}

/// Base with adapter, merged, merged and exported: the same logits.
#[test]
fn merging_changes_no_logit() {
    for family in ["llama", "gemma", "mixtral"] {
        let desk = Desk::in_f32(family);
        let trainer = Trainer { max_steps: 2, ..lora(&desk, "run") };
        let tuned = desk.run(&trainer).unwrap();
        let adapted = Adapted::open(&tuned.checkpoint, DeviceChoice::Cpu).unwrap();
        let want = logits(&adapted.model().unwrap());
        let (merged, hf) = (desk.dir.path().join("merged"), desk.dir.path().join("hf"));
        adapted.merge(&merged, Overwrite::No).unwrap();
        export_ckpt(&merged, &hf, ExportOptions::default()).unwrap();
        for path in [merged, hf] {
            let apart = desk.distance(&path, &want);
            assert!(apart < 2e-5, "{family}: {}: {apart:e}", path.display());
        }
        assert!(desk.distance(&desk.base, &want) > 1e-2, "{family}: the adapter does nothing");
    }
}

/// An adapter is opened as the merged model is: by the library, and by `logits` and `generate`.
#[test]
fn an_adapter_is_computed_as_the_merged_model_is() {
    for family in ["llama", "mixtral"] {
        let desk = Desk::in_f32(family);
        let tuned = desk.run(&Trainer { max_steps: 2, ..lora(&desk, "run") }).unwrap();
        let merged = desk.dir.path().join("merged");
        let adapted = Adapted::open(&tuned.checkpoint, DeviceChoice::Cpu).unwrap();
        adapted.merge(&merged, Overwrite::No).unwrap();
        let want = logits(&adapted.model().unwrap());
        assert!(desk.distance(&tuned.checkpoint, &want) == 0.0, "{family}");
        let ids = fixture(&format!("{family}/logits.safetensors"));
        let (of_adapter, of_merged) =
            (computed(&desk, &tuned.checkpoint, &ids), computed(&desk, &merged, &ids));
        let of_base = computed(&desk, &desk.base, &ids);
        let apart = |other: &[f32]| {
            of_adapter.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(apart(&of_merged) < 2e-5, "{family}: {:e}", apart(&of_merged));
        assert!(apart(&of_base) > 1e-2, "{family}: the adapter does nothing");
        if family == "llama" {
            let texts = [&tuned.checkpoint, &merged].map(|path| generated(path));
            assert_eq!(texts[0], texts[1]);
            assert_ne!(texts[0], generated(&desk.base));
        }
    }
}

/// What `logits` writes for the tokens in the file `ids`.
fn computed(desk: &Desk, checkpoint: &Path, ids: &Path) -> Vec<f32> {
    let out = desk.dir.path().join("logits.safetensors");
    let path = |path: &Path| path.to_str().unwrap().to_string();
    let args = ["logits", &path(checkpoint), "--ids", &path(ids), "--out", &path(&out)];
    let Ended { code, text } = Child::new(PROGRAM, &args).run();
    assert_eq!(code, Some(0), "{text}");
    let logits = read_tensors(&out).remove("logits").unwrap();
    fs::remove_file(out).unwrap();
    logits.bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// What `generate` goes on with.
fn generated(checkpoint: &Path) -> String {
    let args = ["generate", checkpoint.to_str().unwrap(), "--prompt", "we ride", "--quiet"];
    let Ended { code, text } = Child::new(PROGRAM, &args).arg("--max-tokens=12").run();
    assert_eq!(code, Some(0), "{text}");
    text
}

/// An adapter whose model has moved, or whose files are damaged.
#[test]
fn an_adapter_that_does_not_fit_its_model_is_refused() {
    let desk = Desk::of("llama");
    let tuned = desk.run(&Trainer { max_steps: 1, ..lora(&desk, "run") }).unwrap();
    let metadata = tuned.checkpoint.join("weights/adapter_metadata.json");
    let text = fs::read_to_string(&metadata).unwrap();
    let base = fs::canonicalize(&desk.base).unwrap().display().to_string();
    let own = tuned.checkpoint.display().to_string();
    for (from, to, want) in [
        ("\"dim\": 4", "\"dim\": 8", "[4, 48]; it should be F32 [8, 48]"),
        ("\"dim\": 4", "\"dim\": 0", "adapter_metadata.json: dim: is 0"),
        ("\"alpha\": 8.0", "\"alpha\": -1", "adapter_metadata.json: alpha: is -1"),
        ("\"linear_fc2\"", "\"linear_fc3\"", "names `linear_fc3`"),
        (",\n      \"linear_fc2\"", "", "is of no projection that this adapter is for"),
        (&base, "/no/such", "adapts the model in /no/such, which is not there"),
        (&base, &own, "which is an adapter itself"),
        ("{", "[", "adapter_metadata.json: "),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        fs::write(&metadata, changed).unwrap();
        let error = match Loaded::open(&tuned.checkpoint, &LoadOptions::default()) {
            Ok(_) => "it opens".into(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(want), "{to}: {error}");
    }
}

/// One adapter for each of the projections that a fused one was made of: `B·A` of each is its part
/// of the change of the merged and exported weights.
#[test]
fn the_peft_adapter_is_the_change_of_the_exported_weights() {
    let desk = Desk::of("llama");
    let tuned = desk.run(&Trainer { max_steps: 3, ..lora(&desk, "run") }).unwrap();
    let adapted = Adapted::open(&tuned.checkpoint, DeviceChoice::Cpu).unwrap();
    let at = |name: &str| desk.dir.path().join(name);
    adapted.export_peft(at("peft"), Overwrite::No).unwrap();
    adapted.merge(at("merged"), Overwrite::No).unwrap();
    export_ckpt(at("merged"), at("hf"), ExportOptions::default()).unwrap();
    export_ckpt(&desk.base, at("base-hf"), ExportOptions::default()).unwrap();

    let load =
        |name: &str| candle_core::safetensors::load(at(name), &candle_core::Device::Cpu).unwrap();
    let (adapter, merged) = (load("peft/adapter_model.safetensors"), load("hf/model.safetensors"));
    let base = load("base-hf/model.safetensors");
    let mut adapted = 0;
    for (name, weight) in &merged {
        let key =
            |part| format!("base_model.model.{}.{part}.weight", name.trim_end_matches(".weight"));
        let change = (weight - &base[name]).unwrap();
        let want = match (adapter.get(&key("lora_A")), adapter.get(&key("lora_B"))) {
            (Some(a), Some(b)) => {
                adapted += 1;
                assert_eq!(a.dims()[0], 4);
                (b.matmul(a).unwrap() * 2.0).unwrap()
            }
            _ => change.zeros_like().unwrap(),
        };
        let apart = (change - want).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-6, "{name}");
    }
    assert_eq!((adapted, adapter.len()), (14, 28));
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(at("peft/adapter_config.json")).unwrap()).unwrap();
    let modules = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"];
    assert_eq!(config["target_modules"], serde_json::json!(modules));
    assert_eq!((&config["r"], &config["lora_alpha"]), (&4.into(), &8.0.into()));
}

#[test]
fn adapters_of_experts_are_not_exported_to_peft() {
    let desk = Desk::of("mixtral");
    let tuned = desk.run(&Trainer { max_steps: 1, ..lora(&desk, "run") }).unwrap();
    let adapted = Adapted::open(&tuned.checkpoint, DeviceChoice::Cpu).unwrap();
    let error = adapted.export_peft(desk.dir.path().join("peft"), Overwrite::No).unwrap_err();
    assert!(error.to_string().contains("merge the adapter into the model"), "{error}");
    assert!(!desk.dir.path().join("peft").exists());
}

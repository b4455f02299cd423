//! A low-rank adapter trained.

use crate::support::{Desk, files, logits, losses};
use connector_core::store::Overwrite;
use connector_core::train::{Adapted, Lora, Trainer};
use connector_core::{DeviceChoice, ExportOptions, export_ckpt};
use connector_tests::read_tensors;
use std::fs;

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

/// One adapter for each of the projections that a fused one was made of: `B·A` of each is its part
/// of the change of the merged and exported weights.
#[test]
fn the_peft_adapter_is_the_change_of_the_exported_weights() {
    let desk = Desk::of("llama");
    let tuned = desk.run(&Trainer { max_steps: 3, ..lora(&desk, "run") }).unwrap();
    let adapted = Adapted::open(&tuned.checkpoint, DeviceChoice::Cpu).unwrap();
    let at = |name: &str| desk.dir.path().join(name);
    adapted.export_peft(&at("peft"), Overwrite::No).unwrap();
    adapted.merge(&at("merged"), Overwrite::No).unwrap();
    export_ckpt(&at("merged"), &at("hf"), ExportOptions::default()).unwrap();
    export_ckpt(&desk.base, &at("base-hf"), ExportOptions::default()).unwrap();

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
    let error = adapted.export_peft(&desk.dir.path().join("peft"), Overwrite::No).unwrap_err();
    assert!(error.to_string().contains("merge the adapter into the model"), "{error}");
    assert!(!desk.dir.path().join("peft").exists());
}

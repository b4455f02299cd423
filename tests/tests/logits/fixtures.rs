//! Against what transformers computed, whatever way the weights go.

use crate::support::{distance, load, options, reference};
use candle_core::{DType, Device, Tensor};
use connector_core::checkpoint::torch_dist::LayerLayout;
use connector_core::connector::TorchDist;
use connector_core::families::{GemmaModel, LlamaModel, MistralModel, MixtralModel};
use connector_core::model::{GPTModel, GptFamily, Loaded, LogitDistance, oracle_logits};
use connector_core::{DeviceChoice, Result};
use connector_tests::{
    Bench, Model, accepting, export_options, fixture, fixtures, options as import_options, variant,
};
use std::path::Path;

/// What is asked is 1e-4; what is found is about 1e-5 at most.
const CLOSE: f64 = 1e-4;

fn bits(logits: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_fixtures_give_the_logits_of_transformers() {
    for name in &fixtures() {
        let (tokens, want) = reference(name);
        let model = load(&fixture(&format!("{name}/hf")));
        let got = model.forward(&tokens).unwrap();
        let apart = distance(&got, &want);
        println!("{name}: {apart:.1e}");
        assert!(apart < CLOSE, "{name}: {apart:e}");
    }
}

/// By the type of each family, which is what a program names.
#[test]
fn families_load_their_own() {
    type Load = fn(&Path, Option<DType>, DeviceChoice) -> Result<GPTModel>;
    let cpu = DeviceChoice::Cpu;
    for (name, own, other) in [
        (
            "llama",
            (|a, b, c| LlamaModel::load(a, b, c)) as Load,
            (|a, b, c| MistralModel::load(a, b, c)) as Load,
        ),
        ("mistral", |a, b, c| MistralModel::load(a, b, c), |a, b, c| LlamaModel::load(a, b, c)),
        ("mixtral", |a, b, c| MixtralModel::load(a, b, c), |a, b, c| MistralModel::load(a, b, c)),
        ("gemma", |a, b, c| GemmaModel::load(a, b, c), |a, b, c| LlamaModel::load(a, b, c)),
    ] {
        let (path, (tokens, want)) = (fixture(&format!("{name}/hf")), reference(name));
        let model = own(&path, Some(DType::F32), cpu).unwrap();
        assert!(distance(&model.forward(&tokens).unwrap(), &want) < CLOSE, "{name}");
        let error = other(&path, Some(DType::F32), cpu).unwrap_err().to_string();
        assert!(error.contains("holds a ") && error.contains(", not a "), "{error}");
    }
}

#[test]
fn the_other_spelling_and_the_other_layout_give_the_same_bits() {
    for name in &fixtures() {
        let (tokens, _) = reference(name);
        let want = bits(&load(&fixture(&format!("{name}/hf"))).forward(&tokens).unwrap());
        let mut model = Model::fixture(name);
        let config = variant(name, "config").expect("the other spelling");
        model.config = serde_json::from_slice(&config).unwrap();
        let bench = Bench::new(&model);
        assert!(bits(&load(&bench.source()).forward(&tokens).unwrap()) == want, "{name}");
    }
    let (tokens, _) = reference("mixtral");
    let apart = load(&fixture("mixtral/hf")).forward(&tokens).unwrap();
    let fused = load(&fixture("mixtral/variants/hf_fused")).forward(&tokens).unwrap();
    assert!(bits(&apart) == bits(&fused));
}

/// Imported in memory, into a directory of either container, exported, imported again.
#[test]
fn every_way_gives_the_same_bits() {
    for name in &fixtures() {
        let (tokens, _) = reference(name);
        let logits = |path: &Path| bits(&load(path).forward(&tokens).unwrap());
        let bench = Bench::new(&Model::fixture(name));
        let want = logits(&bench.source());
        bench.import(import_options(|_| {}));
        assert!(logits(&bench.out()) == want, "{name}: weights/");
        bench.export(export_options(|_| {}));
        assert!(logits(&bench.back()) == want, "{name}: exported");
        for layers in [LayerLayout::Stacked, LayerLayout::PerLayer] {
            // Layers of two kinds are not stacked.
            let mixed = ["ernie4_5_moe", "glm4_moe", "llama4_text"].contains(&name.as_str());
            if mixed && layers == LayerLayout::Stacked {
                continue;
            }
            let bench = Bench::new(&Model::fixture(name));
            let options = import_options(|o| {
                o.torch_dist = Some(TorchDist::default().layers(layers));
                o.pad_vocab_to_multiple_of = Some(64);
            });
            bench.import(accepting(&bench.source(), options));
            assert!(logits(&bench.out()) == want, "{name}: torch_dist, {layers:?}, padded");
        }
    }
}

#[test]
fn a_batch_gives_what_its_members_give() {
    for name in &fixtures() {
        let (tokens, want) = reference(name);
        let model = load(&fixture(&format!("{name}/hf")));
        let apart = distance(&model.logits_of(&tokens).unwrap(), &want);
        assert!(apart < CLOSE, "{name}: {apart:e}");
    }
}

/// What candle-transformers computes of the same files is what we do.
#[test]
fn others_compute_the_same() {
    for name in &fixtures() {
        let (tokens, want) = reference(name);
        let path = fixture(&format!("{name}/hf"));
        match oracle_logits(&path, &tokens, &Device::Cpu) {
            Ok(logits) => {
                let ours = load(&path).forward(&tokens).unwrap();
                let apart = [distance(&logits, &want), distance(&ours, &logits)];
                println!("{name}: {apart:?}");
                assert!(apart.iter().all(|apart| *apart < CLOSE), "{name}: {apart:?}");
            }
            // What candle-transformers does not know, or has no model for.
            Err(error) => {
                let text = error.to_string();
                let asked = ["gemma", "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe"];
                assert!(!asked.contains(&name.as_str()), "{name}: {text}");
                assert!(text.contains("does not compute this model"), "{name}: {text}");
            }
        }
    }
}

/// Rounded to 8 or 11 bits in every operation, logits stay close to what they were.
#[test]
fn half_precision_is_close() {
    // In 8 bits a token of GPT-OSS and of MiniMax-M2 goes to another expert, and twice as many norms
    // and soft caps round what Gemma 2 and 3 compute: a few of their logits are further off, the mean
    // is not.
    let far = ["gemma2", "gemma3_text", "gpt_oss", "minimax_m2"];
    for (dtype, most, mean) in [(DType::BF16, 0.05, 0.02), (DType::F16, 0.01, 0.003)] {
        for name in &fixtures() {
            let (tokens, want) = reference(name);
            let path = fixture(&format!("{name}/hf"));
            let model = Loaded::open(&path, &options(dtype)).unwrap().model().unwrap();
            let logits = model.forward(&tokens).unwrap();
            assert_eq!(logits.dtype(), dtype);
            let apart = LogitDistance::between(&logits, &want).unwrap();
            let shares = [apart.largest / apart.scale, apart.mean / apart.scale];
            println!("{name} {dtype:?}: {shares:?} of the largest logit, at most and in the mean");
            assert!(shares[1] < mean, "{name} {dtype:?}: {shares:?}");
            let is_far = dtype == DType::BF16 && far.contains(&name.as_str());
            assert!(is_far || shares[0] < most, "{name} {dtype:?}: {shares:?}");
        }
    }
}

/// The biases by which GLM-4.5 chooses experts differ by less than bf16 can tell.
#[test]
fn what_a_schema_keeps_is_not_rounded() {
    let path = fixture("glm4_moe/hf");
    for (dtype, kept) in
        [(DType::BF16, DType::F32), (DType::F16, DType::F32), (DType::F64, DType::F64)]
    {
        let loaded = Loaded::open(&path, &options(dtype)).unwrap();
        for (name, tensor) in loaded.parameters.tensors() {
            let want = if name.ends_with(".expert_bias") { kept } else { dtype };
            assert_eq!(tensor.dtype(), want, "{name}");
        }
    }
}

/// What NeMo's own importer wrote for the fixture `llama`, with its pickles, is that model.
#[test]
fn nemos_own_checkpoint_computes_the_same() {
    let (tokens, want) = reference("llama");
    let model = load(&fixture("torch_dist/nemo"));
    let apart = distance(&model.forward(&tokens).unwrap(), &want);
    assert!(apart < CLOSE, "{apart:e}");
}

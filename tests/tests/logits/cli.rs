//! The commands that compute.

use crate::support::{options, reference};
use candle_core::{DType, Device, Tensor};
use connector_core::model::Loaded;
use connector_tests::{Bench, Child, Ended, Model, fixture, fixtures, options as import_options};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

fn run(args: &[&str]) -> Ended {
    Child::new(PROGRAM, args).run()
}

fn json(args: &[&str]) -> (Option<i32>, Value) {
    let ended = Child::new(PROGRAM, args).arg("--json").run();
    (ended.code, serde_json::from_str(&ended.text).unwrap_or_else(|_| panic!("{}", ended.text)))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_text_is_continued() {
    let hf = fixture("llama/hf");
    let (code, told) = json(&["generate", text(&hf), "-p", "The same", "--max-tokens", "9"]);
    assert_eq!((code, &told["schema"]), (Some(0), &"connector.generate/1".into()));
    let loaded = Loaded::open(&hf, &options(DType::F32)).unwrap();
    let (model, tokenizer) = (loaded.model().unwrap(), loaded.tokenizer().unwrap());
    let prompt = tokenizer.encode("The same", true).unwrap();
    assert_eq!(prompt[0], 1, "the tokenizer puts <s> in front");
    let mut generate = connector_core::model::GenerateOptions::default();
    (generate.max_tokens, generate.stop) = (9, vec![2]);
    let tokens: Vec<u32> = model.generate(&prompt, generate).unwrap().map(Result::unwrap).collect();
    assert_eq!(told["tokens"], serde_json::json!(tokens));
    // With the space that stands between the prompt and what follows, if one does.
    let whole = tokenizer.decode(&[prompt, tokens].concat()).unwrap();
    assert_eq!(format!("The same{}", told["text"].as_str().unwrap()), whole);
    // As text the same, with all else beside it.
    let ended = run(&["generate", text(&hf), "-p", "The same", "--max-tokens", "9", "-q"]);
    assert_eq!(ended.text, format!("{}\n", told["text"].as_str().unwrap()));
}

#[test]
fn every_kind_of_checkpoint_continues_it_alike() {
    let bench = Bench::new(&Model::fixture("gemma"));
    let generate = |path: &Path| {
        let line = ["generate", text(path), "-p", "One", "--max-tokens", "5", "--temperature", "1"];
        let (code, told) = json(&line);
        assert_eq!(code, Some(0), "{told}");
        told["tokens"].clone()
    };
    let want = generate(&bench.source());
    bench.import(import_options(|_| {}));
    assert_eq!(generate(&bench.out()), want);
    let bench = Bench::new(&Model::fixture("gemma"));
    bench.import(import_options(|o| o.torch_dist = Some(Default::default())));
    assert_eq!(generate(&bench.out()), want);
}

#[test]
fn what_is_missing_is_named() {
    let mut model = Model::fixture("llama");
    model.files.remove("tokenizer.json");
    let bench = Bench::new(&model);
    let source = bench.source();
    let generate = |args: &[&str]| {
        let line = [&["generate", text(&source), "-p", "x"], args].concat();
        let ended = run(&line);
        (ended.code, ended.text)
    };
    let (code, said) = generate(&[]);
    assert!(code == Some(4) && said.contains("no tokenizer.json"), "{said}");
    std::fs::write(source.join("tokenizer.json"), "{").unwrap();
    let (code, said) = generate(&[]);
    assert!(code == Some(4) && said.contains("tokenizer.json: "), "{said}");
    std::fs::copy(fixture("llama/hf/tokenizer.json"), source.join("tokenizer.json")).unwrap();
    for (args, want) in [
        (&["--top-p", "1.5", "--temperature", "1"][..], "top_p"),
        (&["--temperature", "-1"], "temperature"),
        (&["--top-k", "0"], "1.."),
        (&["--dtype", "fp8"], "bf16"),
        (&["--device", "tpu"], "cuda"),
    ] {
        let (code, said) = generate(args);
        assert!(code == Some(2) && said.contains(want), "{args:?}: {said}");
    }
    std::fs::write(source.join("generation_config.json"), r#"{"eos_token_id": "</s>"}"#).unwrap();
    let (code, said) = generate(&[]);
    assert!(code == Some(4) && said.contains("eos_token_id"), "{said}");
    std::fs::write(source.join("generation_config.json"), r#"{"eos_token_id": [2, 3]}"#).unwrap();
    assert_eq!(generate(&[]).0, Some(0));
}

/// Any other program can compare what is in the file.
#[test]
fn logits_go_into_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (ids, out) = (fixture("mistral/logits.safetensors"), dir.path().join("out.safetensors"));
    let hf = fixture("mistral/hf");
    let line = ["logits", text(&hf), "--dtype", "f32", "--ids", text(&ids), "--out", text(&out)];
    let (code, told) = json(&line);
    assert_eq!((code, &told["shape"]), (Some(0), &serde_json::json!([2, 12, 120])));
    let written: HashMap<String, Tensor> =
        candle_core::safetensors::load(&out, &Device::Cpu).unwrap();
    let (tokens, want) = reference("mistral");
    assert!(crate::support::distance(&written["logits"], &want) < 1e-4);
    assert_eq!(crate::support::distance(&written["input_ids"], &tokens), 0.0);
    // What is there stays.
    let before = std::fs::read(&out).unwrap();
    let ended = run(&line);
    assert!(ended.code == Some(2) && ended.text.contains("is there already"), "{}", ended.text);
    assert!(std::fs::read(&out).unwrap() == before);
    let other = dir.path().join("other.safetensors");
    let config = hf.join("config.json");
    let line = ["logits", text(&hf), "--ids", text(&config), "--out", text(&other)];
    assert_eq!(run(&line).code, Some(4));
    let tensors = fixture("llama/nemo_state.safetensors");
    let line = ["logits", text(&hf), "--ids", text(&tensors), "--out", text(&other)];
    let ended = run(&line);
    assert!(ended.code == Some(4) && ended.text.contains("`input_ids`"), "{}", ended.text);
    assert!(!other.exists());
}

#[test]
fn verify_compares_what_is_computed() {
    for name in &fixtures() {
        let bench = Bench::new(&Model::fixture(name));
        bench.import(import_options(|_| {}));
        let (source, out) = (bench.source(), bench.out());
        let file = fixture(&format!("{name}/logits.safetensors"));
        let verify = ["verify", "--logits", text(&source), text(&out)];
        let (code, told) = json(&[&verify[..], &["--reference", text(&file)]].concat());
        assert_eq!((code, &told["is_equal"]), (Some(0), &true.into()), "{name}: {told}");
        // Gemma 3 is 2.8e-5 from transformers.
        let most = if name == "gemma3_text" { 5e-5 } else { 2e-5 };
        assert!(told["largest"].as_f64().unwrap() < most, "{name}: {told}");
        let (code, told) = json(&verify);
        match name.as_str() {
            "llama" | "mistral" | "mixtral" | "gemma" | "qwen2" | "qwen3" | "qwen3_moe" => {
                assert_eq!((code, &told["is_equal"]), (Some(0), &true.into()), "{name}: {told}")
            }
            // No model of candle-transformers.
            _ => assert_eq!((code, &told["kind"]), (Some(2), &"model".into())),
        }
        let exact = [&verify[..], &["--reference", text(&file), "--tolerance", "0"]].concat();
        assert_eq!(run(&exact).code, Some(5), "{name}");
    }
}

/// Two rows that changed places leave every shape as it was.
#[test]
fn verify_tells_another_model() {
    let mut model = Model::fixture("llama");
    let bench = Bench::new(&model);
    bench.import(import_options(|_| {}));
    let weight = model.tensor("model.layers.1.mlp.up_proj.weight");
    let row = weight.bytes.len() / weight.shape[0];
    let (one, other) = weight.bytes.split_at_mut(row);
    one.swap_with_slice(&mut other[..row]);
    let changed = Bench::new(&model);
    let (source, out) = (changed.source(), bench.out());
    let ended = run(&["verify", "--logits", text(&source), text(&out)]);
    assert_eq!(ended.code, Some(5), "{}", ended.text);
    assert!(ended.text.contains("differ") && ended.text.contains("the farthest"), "{}", ended.text);
}

/// Tokens of the wrong type or shape, or of another model, are told as such, and are the user's.
#[test]
fn ids_that_are_no_tokens_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (ids, out) = (dir.path().join("ids.safetensors"), dir.path().join("out.safetensors"));
    let device = &Device::Cpu;
    let tokens = |ids: &[i64], shape: &[usize], dtype| {
        let tensor = Tensor::from_slice(ids, shape, device).unwrap();
        tensor.to_dtype(dtype).unwrap()
    };
    for (tensor, code, want) in [
        (tokens(&[1, 2, 3], &[1, 3], DType::F32), 2, "the tokens are f32; they should be integers"),
        (tokens(&[1, 2, 3], &[1, 3], DType::BF16), 2, "the tokens are bf16"),
        (tokens(&[1, 2, 3], &[3], DType::I64), 2, "the tokens are [3]; a batch is"),
        (tokens(&[1, 2, 3], &[1, 1, 3], DType::I64), 2, "the tokens are [1, 1, 3]"),
        (tokens(&[], &[0, 3], DType::I64), 2, "the tokens are [0, 3]"),
        (tokens(&[], &[1, 0], DType::I64), 2, "the tokens are [1, 0]"),
        (tokens(&[1, 97], &[1, 2], DType::I64), 2, "token 97 (number 1 of sequence 0)"),
        (tokens(&[1, -1], &[1, 2], DType::I64), 2, "token -1"),
        (tokens(&[1; 257], &[1, 257], DType::I64), 2, "257 tokens are longer"),
    ] {
        candle_core::safetensors::save(&HashMap::from([("input_ids", tensor)]), &ids).unwrap();
        let hf = fixture("llama/hf");
        let ended = run(&["logits", text(&hf), "--ids", text(&ids), "--out", text(&out)]);
        assert_eq!(ended.code, Some(code), "{want}: {}", ended.text);
        assert!(ended.text.contains(want), "{want}: {}", ended.text);
        assert!(!out.exists());
    }
    // Whatever integers they are, they say the same.
    let mut all = Vec::new();
    for dtype in [DType::I64, DType::I32, DType::I16, DType::U32, DType::U8] {
        let tensor = tokens(&[1, 17, 42], &[1, 3], dtype);
        candle_core::safetensors::save(&HashMap::from([("input_ids", tensor)]), &ids).unwrap();
        let hf = fixture("llama/hf");
        let ended = run(&["logits", text(&hf), "--ids", text(&ids), "--out", text(&out)]);
        assert_eq!(ended.code, Some(0), "{dtype:?}: {}", ended.text);
        let mut written = candle_core::safetensors::load(&out, device).unwrap();
        all.push(
            written.remove("logits").unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        );
        std::fs::remove_file(&out).unwrap();
    }
    assert!(all.iter().all(|logits| logits == &all[0]));
}

/// A checkpoint that has no folder for a tokenizer says so.
#[test]
fn a_checkpoint_without_files_beside_it_has_no_tokenizer() {
    let bench = Bench::new(&Model::fixture("llama"));
    let (source, out) = (bench.source(), bench.out());
    let ended = run(&["import", text(&source), "--output", text(&out), "--flavor", "megatron-lm"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    // As Megatron-LM itself leaves it: the args in common.pt say what model it is.
    std::fs::remove_dir_all(out.join("release/tokenizer")).unwrap();
    let ended = run(&["generate", text(&out), "--prompt", "x"]);
    assert_eq!(ended.code, Some(4), "{}", ended.text);
    assert!(ended.text.contains("no tokenizer.json beside the weights"), "{}", ended.text);
    assert!(ended.text.contains("--hf-config DIR"), "{}", ended.text);
    let ended = run(&["generate", text(&out), "--prompt", "x", "--hf-config", text(&source)]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

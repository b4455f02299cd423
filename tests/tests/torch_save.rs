//! `pytorch_model.bin`: what torch wrote is read to the tensors that it saved, and converted like
//! any other checkpoint.

use connector_core::checkpoint::Tensors;
use connector_core::connector::{AutoModel, VerifyOptions, diff, verify};
use connector_core::engine::NoProgress;
use connector_core::families::LlamaModel;
use connector_core::store::{Source, TensorInfo};
use connector_core::{ConnectorMixin, Error, import_ckpt};
use connector_tests::{
    Bench, Child, Model, Stored, assert_same_tensors, export_options, fixture, options,
    read_tensors,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// Every tensor's bytes, in parts of an odd length as no engine asks for them.
fn read(path: &Path) -> BTreeMap<String, Stored> {
    let tensors = Tensors::open(path).unwrap();
    assert_eq!(tensors.problems(), Vec::<String>::new(), "{}", path.display());
    assert_eq!(tensors.container(), "torch_save");
    let bytes = |tensor: &TensorInfo| {
        let mut bytes = vec![0; tensor.bytes() as usize];
        let (file, offset) = tensor.pieces.first().unwrap();
        for (n, part) in bytes.chunks_mut(777).enumerate() {
            tensors.read_at(file, offset + 777 * n as u64, part).unwrap();
        }
        bytes
    };
    let stored = |tensor: &TensorInfo| Stored {
        dtype: tensor.dtype.name().into(),
        shape: tensor.shape.clone(),
        bytes: bytes(tensor),
    };
    tensors.tensors().iter().map(|tensor| (tensor.name.clone(), stored(tensor))).collect()
}

/// The Llama of the fixtures with its weights as `source`, in these files of torch.
fn pickled(files: &[(&str, &str)]) -> Bench {
    let bench = Bench::empty();
    let model = Model { tensors: Vec::new(), ..Model::fixture("llama") };
    model.write(&bench.source());
    fs::remove_file(bench.source().join("model.safetensors")).unwrap();
    for (from, to) in files {
        let from = fixture(&format!("torch_save/{from}"));
        fs::copy(from, bench.source().join(to)).unwrap();
    }
    bench
}

const SHARDS: [(&str, &str); 3] = [
    ("sharded/pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002.bin"),
    ("sharded/pytorch_model-00002-of-00002.bin", "pytorch_model-00002-of-00002.bin"),
    ("sharded/pytorch_model.bin.index.json", "pytorch_model.bin.index.json"),
];

#[test]
fn what_torch_wrote_are_the_tensors_that_it_saved() {
    let saved = read_tensors(&fixture("llama/hf"));
    for name in ["zip.bin", "legacy.bin", "sharded"] {
        assert_same_tensors(&read(&fixture(&format!("torch_save/{name}"))), &saved);
    }
}

#[test]
fn every_type() {
    let floats = |f: fn(u8) -> Vec<u8>| (0..6).flat_map(f).collect::<Vec<u8>>();
    let bf16 = |n: u8| f32::from(n).to_le_bytes()[2..].to_vec();
    let ints = |size: usize| -> Vec<u8> {
        (0..6u8).flat_map(|n| std::iter::once(n).chain(std::iter::repeat_n(0, size - 1))).collect()
    };
    for file in ["dtypes.bin", "dtypes-legacy.bin"] {
        let found = read(&fixture(&format!("torch_save/{file}")));
        let at = |name: &str| found[name].bytes.clone();
        assert_eq!(at("float64"), floats(|n| f64::from(n).to_le_bytes().into()));
        assert_eq!(at("float32"), floats(|n| f32::from(n).to_le_bytes().into()));
        assert_eq!(at("bfloat16"), floats(bf16));
        // 0 to 5 in half precision.
        let half = [0u16, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500].map(u16::to_le_bytes).concat();
        assert_eq!(at("float16"), half);
        for (name, size) in [("int64", 8), ("int32", 4), ("int16", 2), ("int8", 1), ("uint8", 1)] {
            assert_eq!(at(name), ints(size), "{name}");
        }
        assert_eq!(at("bool"), [0, 1, 1, 1, 1, 1]);
        assert_eq!((&found["scalar"].shape, at("scalar")), (&vec![], 7f32.to_le_bytes().into()));
        assert_eq!((&found["empty"].shape, at("empty")), (&vec![0, 3], vec![]));
        assert_eq!(found["tied.a"], found["tied.b"]);
        assert_eq!(at("expanded"), [5, 0].repeat(6));
        if file == "dtypes.bin" {
            assert_eq!(at("float8_e4m3fn"), [0, 0x38, 0x40, 0x44, 0x48, 0x4a]);
            assert_eq!(at("float8_e5m2"), [0, 0x3c, 0x40, 0x42, 0x44, 0x45]);
        }
    }
}

#[test]
fn it_imports_verifies_and_exports_as_its_safetensors_do() {
    let want = Bench::new(&Model::fixture("llama"));
    want.import(options(|_| {}));
    let files =
        [&[("zip.bin", "pytorch_model.bin")][..], &[("legacy.bin", "pytorch_model.bin")], &SHARDS];
    for files in files {
        let bench = pickled(files);
        bench.import(options(|_| {}));
        assert_same_tensors(&bench.weights(), &want.weights());
        bench.export(export_options(|_| {}));
        let verified =
            verify(bench.source(), bench.out(), &VerifyOptions::default(), &NoProgress).unwrap();
        assert!(verified.is_equal(), "{verified:?}");
        let compared =
            diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress).unwrap();
        assert!(compared.is_equal(), "{compared:?}");
        // Every file once, by its pickle; nothing of the pickles is copied.
        let record = bench.conversion();
        let recorded = record["source"]["files"].as_array().unwrap();
        assert_eq!(recorded.len(), files.len().min(2));
        assert!(recorded.iter().all(|file| file["name"].as_str().unwrap().ends_with(".bin")));
        assert!(!record["copied"].to_string().contains(".bin"));
    }
}

#[test]
fn a_cast_reads_views_too() {
    let want = Bench::new(&Model::fixture("llama"));
    let bench = pickled(&[("zip.bin", "pytorch_model.bin")]);
    for bench in [&want, &bench] {
        bench.import(options(|options| {
            options.plan.dtype = Some(connector_core::store::Dtype::Bf16);
        }));
    }
    assert_same_tensors(&bench.weights(), &want.weights());
}

#[test]
fn pickles_are_taken_on_request_where_safetensors_lie_beside_them() {
    let bench = pickled(&[("zip.bin", "pytorch_model.bin")]);
    // Another model, which transformers would load.
    let mut other = Model::fixture("llama");
    other.tensor("model.norm.weight").bytes.fill(0);
    other.write(&bench.source());
    let norm = |path: &Path| {
        read_tensors(&path.join("weights"))["decoder.final_layernorm.weight"].bytes.clone()
    };
    let pytorch = format!("pytorch://{}", bench.source().display());
    let path = LlamaModel::import_ckpt(&pytorch, Some(&bench.out()), options(|_| {})).unwrap();
    let saved = read_tensors(&fixture("llama/hf"));
    assert_eq!(norm(&path), saved["model.norm.weight"].bytes);
    let hf = AutoModel::import_ckpt(bench.source(), Some(&bench.back()), options(|_| {}));
    assert!(norm(&hf.unwrap()).iter().all(|&byte| byte == 0));

    // Where there are none, it says what there is.
    let safe = format!("pytorch://{}", fixture("llama/hf").display());
    let error = LlamaModel::importer(&safe, options(|_| {})).err().unwrap().to_string();
    assert!(error.contains("found safetensors, `model.safetensors`"), "{error}");

    // It is how weights lie, and no format that is written.
    let error = LlamaModel::exporter("pytorch", bench.out()).err().unwrap();
    assert!(matches!(error, Error::NoExporter { .. }), "{error}");
}

#[test]
fn what_is_missing_or_malformed_is_refused_all_at_once() {
    let bench = pickled(&SHARDS);
    let first = bench.source().join("pytorch_model-00001-of-00002.bin");
    let whole = fs::read(&first).unwrap();
    fs::write(&first, &whole[..whole.len() / 2]).unwrap();
    fs::remove_file(bench.source().join("pytorch_model-00002-of-00002.bin")).unwrap();
    let error = bench.refuse(options(|_| {})).to_string();
    assert!(error.contains("pytorch_model-00001-of-00002.bin: it is no zip archive"), "{error}");
    assert!(error.contains("shard `pytorch_model-00002-of-00002.bin` does not exist"), "{error}");

    // A file beside that is none of the model's is no model.
    let bench = pickled(&[("zip.bin", "training_args.bin")]);
    let error = import_ckpt(bench.source(), bench.out(), options(|_| {})).unwrap_err();
    assert!(error.to_string().contains("found a PyTorch pickle, `training_args.bin`"), "{error}");
}

#[test]
fn every_command_takes_it() {
    let bench = pickled(&[("zip.bin", "pytorch_model.bin")]);
    let source = bench.source();
    let (source, out) = (source.to_str().unwrap(), bench.out());
    let json = |args: &[&str]| -> Value {
        let ended = Child::new(PROGRAM, args).arg("--json").run();
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.text);
        serde_json::from_str(&ended.text)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", ended.text))
    };
    let inspected = json(&["inspect", source]);
    assert_eq!(inspected["files"][0]["name"], "pytorch_model.bin");
    assert_eq!(inspected["files"][0]["tensors"], 21);
    json(&["inspect", &format!("{source}/pytorch_model.bin")]);
    assert_eq!(json(&["plan", source])["source"]["files"], 1);
    let explained =
        json(&["explain", source, "decoder.layers.0.self_attention.linear_proj.weight"]);
    assert!(explained.to_string().contains("pytorch_model.bin"), "{explained}");
    json(&["import", source, "--weights", "pytorch", "--output", out.to_str().unwrap()]);
    let safe = fixture("llama/hf");
    let safe = ["import", safe.to_str().unwrap(), "--weights", "pytorch", "--dry-run"];
    let ended = Child::new(PROGRAM, &safe).run();
    assert_eq!(ended.code, Some(4), "{}", ended.text);
    assert!(ended.text.contains("leave out `--weights pytorch`"), "{}", ended.text);
    json(&["verify", source, out.to_str().unwrap()]);
    json(&["diff", source, fixture("llama/hf").to_str().unwrap()]);
}

//! Distributed checkpoints: what Megatron-core and NeMo wrote is read, what is written reads back.

use connector_core::checkpoint::Tensors;
use connector_core::checkpoint::torch_dist::LayerLayout;
use connector_core::connector::{Experts, TorchDist, VerifyOptions, diff, verify};
use connector_core::engine::NoProgress;
use connector_core::store::{Source, TensorInfo};
use connector_core::{Advice, Error, ExportOptions, ImportOptions, checkpoint, export_ckpt};
use connector_tests::{
    Bench, Model, Stored, accepting, assert_same_tensors, export_options, fixture, fixtures,
    options, read_tensors, tree,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A sample, and the folder with its plain state and its Hugging Face form.
const SAMPLES: [(&str, &str); 5] = [
    ("llama/mcore-stacked", "llama"),
    ("llama/mcore-per_layer", "llama"),
    ("llama/mcore-singleton", "llama"),
    ("llama/mcore-nemo-by0.20", "llama"),
    ("mixtral/mcore-nemo", "mixtral"),
];

fn sample(path: &str) -> std::path::PathBuf {
    fixture(&format!("torch_dist/{path}"))
}

/// Every tensor's bytes, by position.
fn read(dir: &Path) -> BTreeMap<String, Stored> {
    let tensors = Tensors::open(dir).unwrap();
    assert_eq!(tensors.problems(), Vec::<String>::new(), "{}", dir.display());
    let bytes = |tensor: &TensorInfo| {
        let mut bytes = Vec::new();
        for run in tensor.runs(0, tensor.elements()) {
            let mut part = vec![0; tensor.dtype.size(run.len).unwrap() as usize];
            tensors.read_at(run.file, run.offset, &mut part).unwrap();
            bytes.extend(part);
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

fn from_hf(dir: &Path) -> ExportOptions {
    export_options(|options| options.trained.hf_config = Some(dir.into()))
}

fn to_torch_dist(layers: LayerLayout, change: impl FnOnce(&mut ImportOptions)) -> ImportOptions {
    options(|options| {
        options.torch_dist = Some(TorchDist::default().layers(layers));
        change(options);
    })
}

#[test]
fn what_megatron_core_wrote_reads_to_its_plain_state() {
    for (path, model) in SAMPLES {
        let plain = read_tensors(&sample(&format!("{model}/plain.safetensors")));
        assert_same_tensors(&read(&sample(path)), &plain);
    }
}

#[test]
fn what_megatron_core_wrote_exports_to_its_hugging_face_form() {
    for (path, model) in SAMPLES {
        let bench = Bench::empty();
        let hf = sample(&format!("{model}/hf"));
        let before = tree(&sample(path));
        export_ckpt(sample(path), bench.back(), from_hf(&hf)).unwrap();
        assert_eq!(tree(&sample(path)), before, "the source is not touched");
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&hf));
        for file in ["config.json", "generation_config.json"] {
            let [got, want] =
                [bench.back().join(file), hf.join(file)].map(|p| fs::read(p).unwrap());
            assert_eq!(got, want, "{path}: {file}");
        }
        let same = verify(&hf, bench.back(), &VerifyOptions::default(), &NoProgress).unwrap();
        assert!(same.is_equal(), "{same:?}");
    }
}

#[test]
fn a_checkpoint_without_a_config_says_what_helps() {
    let bench = Bench::empty();
    let error = export_ckpt(sample("llama/mcore-stacked"), bench.back(), export_options(|_| {}));
    let text = error.unwrap_err().to_string();
    let advice = Advice::TakeConfig.to_string();
    assert!(text.contains("context/model.yaml") && text.contains(&advice), "{text}");
    bench.assert_tidy();
}

#[test]
fn what_nemo_wrote_exports_with_its_own_config_and_tokenizer() {
    let bench = Bench::empty();
    export_ckpt(sample("nemo"), bench.back(), export_options(|_| {})).unwrap();
    let hf = fixture("llama/hf");
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&hf));
    assert_same_tensors(
        &read(&sample("nemo/weights")),
        &read_tensors(&fixture("llama/nemo_state.safetensors")),
    );
    let names: Vec<_> = tree(&bench.back()).into_keys().collect();
    assert_eq!(
        names,
        [
            "config.json",
            "conversion.json",
            "generation_config.json",
            "model.safetensors",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    // The config that NeMo wrote says the same as the one it was made from.
    let same = verify(&hf, sample("nemo"), &VerifyOptions::default(), &NoProgress).unwrap();
    assert!(same.is_equal(), "{same:?}");
}

#[test]
fn a_directory_of_megatron_lm_is_opened_at_its_newest_iteration() {
    let bench = Bench::empty();
    let iteration = bench.source().join("iter_0000120");
    fs::create_dir_all(&iteration).unwrap();
    for entry in fs::read_dir(sample("llama/mcore-stacked")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), iteration.join(entry.file_name())).unwrap();
    }
    let tracker = bench.source().join("latest_checkpointed_iteration.txt");
    fs::write(&tracker, "120").unwrap();
    let hf = sample("llama/hf");
    export_ckpt(bench.source(), bench.back(), from_hf(&hf)).unwrap();
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&hf));

    fs::write(&tracker, "../..").unwrap();
    let error = export_ckpt(bench.source(), bench.out(), from_hf(&hf)).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(checkpoint::Error::NoIteration { .. })), "{error}");
    fs::write(&tracker, "7").unwrap();
    let error = export_ckpt(bench.source(), bench.out(), from_hf(&hf)).unwrap_err();
    assert!(error.to_string().contains("has no iter_0000007, which its latest"), "{error}");
    // A save that was cut off: `.metadata` is written last.
    fs::write(&tracker, "120").unwrap();
    fs::remove_file(iteration.join(".metadata")).unwrap();
    let error = export_ckpt(bench.source(), bench.out(), from_hf(&hf)).unwrap_err();
    assert!(error.to_string().contains("iter_0000120/.metadata: is missing"), "{error}");
}

#[test]
fn what_is_written_reads_back_in_both_layouts() {
    for name in &fixtures() {
        let mixed = ["ernie4_5_moe", "glm4_moe", "llama4_text"].contains(&name.as_str());
        for layers in [LayerLayout::Stacked, LayerLayout::PerLayer] {
            // Layers of two kinds are not stacked.
            if mixed && layers == LayerLayout::Stacked {
                continue;
            }
            let bench = Bench::new(&Model::fixture(name));
            bench.import(accepting(&bench.source(), to_torch_dist(layers, |_| {})));
            let plain = Bench::new(&Model::fixture(name));
            // All experts of a layer lie in one tensor, which names none.
            let has_experts =
                mixed || name.contains("moe") || ["gpt_oss", "minimax_m2"].contains(&name.as_str());
            let experts = has_experts.then_some(Experts::Local);
            plain.import(options(|options| options.experts = experts));
            assert_same_tensors(&read(&bench.out().join("weights")), &plain.weights());
            bench.export(export_options(|_| {}));
            let back = diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress);
            assert!(back.unwrap().is_equal(), "{name}");
        }
    }
}

#[test]
fn files_are_cut_and_casts_and_names_of_experts_are_no_obstacle() {
    let bench = Bench::new(&Model::fixture("mixtral"));
    bench.import(to_torch_dist(LayerLayout::Stacked, |options| {
        options.max_shard_size = 20_000;
        options.experts = Some(Experts::Grouped);
        options.plan.dtype = Some(connector_core::store::Dtype::F32);
        options.hash = true;
    }));
    let weights = bench.out().join("weights");
    assert!(weights.join("__0_3.distcp").is_file());
    let plain = Bench::new(&Model::fixture("mixtral"));
    plain.import(options(|options| {
        options.plan.dtype = Some(connector_core::store::Dtype::F32);
    }));
    assert_same_tensors(&read(&weights), &plain.weights());
    assert_eq!(bench.conversion()["hashes"].as_object().unwrap().len(), plain.weights().len());
}

#[test]
fn the_same_import_gives_the_same_bytes() {
    let trees: Vec<_> = [1, 3]
        .map(|threads| {
            let bench = Bench::new(&Model::fixture("llama"));
            bench.import(to_torch_dist(LayerLayout::Stacked, |o| o.engine.threads = threads));
            fs::read_dir(bench.out().join("weights"))
                .unwrap()
                .map(|entry| entry.unwrap())
                .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
                .collect::<BTreeMap<_, _>>()
        })
        .into_iter()
        .collect();
    assert_eq!(trees[0].len(), 4);
    assert!(trees[0] == trees[1]);
}

#[test]
fn a_part_of_the_layers_is_no_stack() {
    let bench = Bench::new(&Model::fixture("llama"));
    let only = |options: &mut ImportOptions| options.plan.only = vec!["decoder.layers.1.**".into()];
    let error = bench.refuse(to_torch_dist(LayerLayout::Stacked, only));
    assert!(error.to_string().contains("store each layer by itself"), "{error}");
    bench.import(to_torch_dist(LayerLayout::PerLayer, only));
}

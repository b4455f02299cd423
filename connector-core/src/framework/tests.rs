//! What is written around tensors, against what frameworks wrote.

use crate::checkpoint::Flavor;
use crate::checkpoint::torch::pickle::{Pickle, View};
use crate::checkpoint::torch::zip::Archive;
use crate::checkpoint::torch_dist::{self, LayerLayout};
use crate::connector::TorchDist;
use crate::{ImportOptions, import_ckpt};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};

fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(path)
}

/// An import of a fixture; the directory lives as long as the first.
fn imported(source: &str, flavor: Flavor, layers: LayerLayout) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let torch_dist = Some(TorchDist::default().flavor(flavor).layers(layers));
    let options = ImportOptions { torch_dist, ..ImportOptions::default() };
    import_ckpt(fixture(source), &out, options).unwrap();
    (dir, out)
}

/// The object in a file of `torch.save`, and its storages.
fn load(path: &Path) -> (Value, Vec<Vec<u8>>) {
    let file = File::open(path).unwrap();
    let archive = Archive::open(&file, 0..file.metadata().unwrap().len()).unwrap();
    let bytes = archive.read(archive.member("data.pkl").unwrap(), 1 << 20).unwrap();
    let pickle = Pickle::read(&bytes).unwrap();
    const STORAGES: [&str; 8] =
        ["data/0", "data/1", "data/2", "data/3", "data/4", "data/5", "data/6", "data/7"];
    let members = STORAGES.into_iter().map_while(|name| archive.member(name).ok());
    let storages = members.map(|member| archive.read(member, 1 << 20).unwrap().to_vec());
    (plain(pickle.top("it")), storages.collect())
}

fn plain(value: View<'_, '_>) -> Value {
    if let Some(((module, name), args)) = value.call() {
        return match value.object("Namespace", "") {
            Ok(fields) => plain(fields),
            Err(_) => json!({format!("{module}.{name}"): plain(args)}),
        };
    }
    if let Ok(items) = value.dict() {
        let items = items.map(|(key, value)| (key.text().unwrap().to_string(), plain(value)));
        return Value::Object(items.collect::<Map<_, _>>());
    }
    match value.list() {
        Ok(values) => values.map(plain).collect(),
        Err(_) => value.scalar(),
    }
}

#[test]
fn common_pt_of_nemo_is_what_its_importers_write() {
    let (_dir, out) = imported("llama/hf", Flavor::Nemo, LayerLayout::Stacked);
    let (mut got, _) = load(&out.join("weights/common.pt"));
    let (mut want, _) = load(&fixture("torch_dist/nemo/weights/common.pt"));
    // What belongs to the run that wrote it: a callback that kept the best checkpoint, and how an
    // optimizer would have been cut among ranks.
    assert_eq!(want["callbacks"].as_object_mut().unwrap().len(), 1);
    assert_eq!(got["callbacks"], json!({}));
    assert_eq!(got["content_metadata"], json!({}));
    for state in [&mut got, &mut want] {
        let state = state.as_object_mut().unwrap();
        assert!(state.remove("callbacks").is_some() && state.remove("content_metadata").is_some());
    }
    assert_eq!(got, want);
}

#[test]
fn content_metadata_names_the_layout() {
    for (flavor, folder, layers, want) in [
        (Flavor::Nemo, "weights", LayerLayout::PerLayer, json!({"non_homogeneous_layers": true})),
        (
            Flavor::MegatronLm,
            "release",
            LayerLayout::Stacked,
            json!({"singleton_local_shards": false, "chained_optim_avoid_prefix": true}),
        ),
        (
            Flavor::MegatronBridge,
            "iter_0000000",
            LayerLayout::PerLayer,
            json!({
                "singleton_local_shards": false,
                "chained_optim_avoid_prefix": true,
                "non_homogeneous_layers": true,
            }),
        ),
    ] {
        let (_dir, out) = imported("mixtral/hf", flavor, layers);
        let (common, _) = load(&out.join(folder).join("common.pt"));
        assert_eq!(common["content_metadata"], want, "{flavor:?}");
        let version = common.get("checkpoint_version").and_then(Value::as_f64);
        assert_eq!(version, (flavor != Flavor::Nemo).then_some(3.0));
        assert_eq!(common.get("args").is_some(), flavor == Flavor::MegatronLm);
    }
}

/// What `--use-checkpoint-args` sets from a checkpoint (Megatron-LM's `load_args_from_checkpoint`),
/// of models that are not mixed with Mamba's.
const SET: [&str; 34] = [
    "num_layers",
    "hidden_size",
    "ffn_hidden_size",
    "seq_length",
    "num_attention_heads",
    "num_query_groups",
    "group_query_attention",
    "kv_channels",
    "max_position_embeddings",
    "position_embedding_type",
    "add_position_embedding",
    "use_rotary_position_embeddings",
    "rotary_base",
    "rotary_percent",
    "rotary_interleaved",
    "add_bias_linear",
    "add_qkv_bias",
    "squared_relu",
    "swiglu",
    "untie_embeddings_and_output_weights",
    "apply_layernorm_1p",
    "normalization",
    "apply_query_key_layer_scaling",
    "attention_dropout",
    "hidden_dropout",
    "num_experts",
    "moe_layer_freq",
    "moe_grouped_gemm",
    "tokenizer_type",
    "padded_vocab_size",
    "ckpt_format",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "norm_epsilon",
];

#[test]
fn args_are_all_that_megatron_lm_sets_from_a_checkpoint() {
    // A number is the same with and without a fraction.
    let same = |one: &Value, other: &Value| match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    };
    for model in ["llama", "mixtral"] {
        let source = format!("torch_dist/{model}/hf");
        let (_dir, out) = imported(&source, Flavor::MegatronLm, LayerLayout::Stacked);
        let args = torch_dist::arguments(&out.join("release")).unwrap().unwrap().ok().unwrap();
        let sample = fixture(&format!("torch_dist/{model}/args.pt"));
        let (sample, _) = load(&sample);
        let mut differ = Vec::new();
        for name in SET {
            let got = args.fields.get(name).unwrap_or_else(|| panic!("{name} is missing"));
            if sample["args"].get(name).is_some_and(|want| !same(want, got)) {
                differ.push(name);
            }
        }
        // The sample was trained on sequences of half the length, on two ranks, with a padded
        // vocabulary, and without `--no-position-embedding`, which scripts for Llama have.
        let of_the_run = [
            "seq_length",
            "add_position_embedding",
            "padded_vocab_size",
            "tensor_model_parallel_size",
        ];
        assert_eq!(differ, of_the_run, "{model}");
    }
}

#[test]
fn the_state_of_a_run_that_has_not_begun_is_zero() {
    let (_dir, out) = imported("llama/hf", Flavor::MegatronBridge, LayerLayout::Stacked);
    let latest = load(&out.join("latest_train_state.pt"));
    assert_eq!(latest, load(&out.join("iter_0000000/train_state.pt")));
    let (state, storages) = latest;
    let names: Vec<_> = state.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "step",
            "consumed_train_samples",
            "skipped_train_samples",
            "consumed_valid_samples",
            "floating_point_operations_so_far",
            "do_train",
            "do_valid",
            "do_test"
        ]
    );
    assert!(storages.iter().flatten().all(|&byte| byte == 0));
    assert_eq!(storages.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8, 8, 4, 1, 1, 1]);
    let rebuilt = &state["do_test"]["torch._utils._rebuild_tensor_v2"];
    assert_eq!(rebuilt.as_array().map(Vec::len), Some(6), "{rebuilt}");
}

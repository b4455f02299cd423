//! That memory is bounded, by the bound that a plan prints and whatever the size of the model,
//! counted at the allocator.

use connector_core::checkpoint::{HfCheckpoint, Tensors};
use connector_core::connector::{ConvertOptions, PlannedConvert, TorchDist};
use connector_core::engine::{Io, NoProgress};
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::{self, GptConfig};
use connector_core::store::Dtype;
use connector_core::{
    ImportOptions, Mapping, ModelConnector, Planned, Result, Tensor, mapping, model_importer, ops,
    state_transform,
};
use connector_tests::{Bench, Counting, Fill, Model, config_of, export_options, options, peak};
use serde_json::json;
use std::fs;
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All threads of the process are counted, so each test waits for the others.
static ALONE: Mutex<()> = Mutex::new(());

#[state_transform(
    source_key = (
        "model.layers.{layer}.self_attn.q_proj.weight",
        "model.layers.{layer}.self_attn.k_proj.weight",
        "model.layers.{layer}.self_attn.v_proj.weight",
    ),
    target_key = "decoder.layers.{layer}.self_attention.linear_qkv.weight",
    when = !attention_bias,
)]
fn cat_qkv(q: Tensor, k: Tensor, v: Tensor) -> candle_core::Result<Tensor> {
    Tensor::cat(&[q, k, v], 0)
}

/// Llama with a function per layer.
struct HfWithFunction;

#[model_importer(LlamaModel, "hf-function", architectures = ["LlamaForCausalLM"])]
impl ModelConnector for HfWithFunction {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        cat_qkv,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
            "self_attn.o_proj.{p:weight|bias}" => "self_attention.linear_proj.{p}",
            (
                "self_attn.q_proj.{p:weight|bias}",
                "self_attn.k_proj.{p:weight|bias}",
                "self_attn.v_proj.{p:weight|bias}",
            ) => "self_attention.linear_qkv.{p}" as concatenated via ops::concat3 when attention_bias,
            ..gpt::GATED_MLP,
            ..gpt::MLP_BIASES,
        },
    };

    fn config(source: &HfCheckpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }
}

/// What is left over of the bound that grows with the model: the files and their names.
const REST: u64 = 512 << 10;

/// The bound of an import of so many layers without its tables, and the most that running it took.
fn import(layers: usize, dtype: &str, change: &dyn Fn(&mut ImportOptions)) -> (u64, u64) {
    let bench = Bench::new(&Model::llama(layers, dtype));
    let options = options(|options| {
        options.engine.threads = 2;
        options.engine.max_memory = 2 << 20;
        change(options);
    });
    let planned = Planned::import(bench.source(), options).unwrap();
    let (_, most) = peak(|| planned.run(bench.out(), &NoProgress).unwrap());
    (planned.bound().pool + planned.bound().step, most)
}

#[test]
fn running_a_plan_takes_what_it_says_whatever_the_size_of_the_model() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    type Change = fn(&mut ImportOptions);
    let kinds: [(&str, &str, Change); 7] = [
        ("kept", "F32", |_| {}),
        ("cast", "F32", |o| o.plan.dtype = Some(Dtype::Bf16)),
        ("hashed", "F32", |o| o.hash = true),
        ("direct", "F32", |o| o.engine.io = Io::Direct),
        // What is read is four times what is written.
        ("narrowed", "F64", |o| o.plan.dtype = Some(Dtype::Bf16)),
        ("narrowed, direct", "F64", |o| {
            (o.plan.dtype, o.engine.io) = (Some(Dtype::Bf16), Io::Direct);
        }),
        ("function", "F32", |o| o.format = "hf-function".into()),
    ];
    for (kind, dtype, change) in kinds {
        let (bound, few) = import(2, dtype, &change);
        let (same, many) = import(8, dtype, &change);
        assert_eq!(bound, same, "{kind}");
        // Guards against a pass for want of work: the model is many times the bound.
        assert!(8 * 2_900_000 > 8 * bound, "{kind}: {bound}");
        assert!(few > bound / 8, "{kind}: {few} bytes of {bound} were used");
        assert!(many <= bound + REST, "{kind}: {many} bytes, the bound is {bound}");
        assert!(many <= few + few / 10 + REST / 4, "{kind}: {few} bytes, then {many}");
    }
}

/// A Mixtral of many small tensors.
fn moe(layers: usize, experts: usize) -> Model {
    let (hidden, inner, vocab) = (16, 8, 97);
    let mut model = Model::fixture("mixtral");
    for (field, value) in [
        ("hidden_size", hidden),
        ("intermediate_size", inner),
        ("num_hidden_layers", layers),
        ("num_attention_heads", 2),
        ("num_key_value_heads", 2),
        ("num_local_experts", experts),
        ("vocab_size", vocab),
    ] {
        model.config[field] = value.into();
    }
    model.tensors.clear();
    let mut add = |name: String, shape: &[usize]| {
        let name = format!("{name}.weight");
        model.tensors.push(connector_tests::Tensor::new(&name, "BF16", shape, Fill::Noise));
    };
    add("model.embed_tokens".into(), &[vocab, hidden]);
    for layer in 0..layers {
        let at = format!("model.layers.{layer}");
        for name in ["q", "k", "v", "o"] {
            add(format!("{at}.self_attn.{name}_proj"), &[hidden, hidden]);
        }
        add(format!("{at}.input_layernorm"), &[hidden]);
        add(format!("{at}.post_attention_layernorm"), &[hidden]);
        add(format!("{at}.block_sparse_moe.gate"), &[experts, hidden]);
        for expert in 0..experts {
            let at = format!("{at}.block_sparse_moe.experts.{expert}");
            add(format!("{at}.w1"), &[inner, hidden]);
            add(format!("{at}.w2"), &[hidden, inner]);
            add(format!("{at}.w3"), &[inner, hidden]);
        }
    }
    add("model.norm".into(), &[hidden]);
    add("lm_head".into(), &[vocab, hidden]);
    model
}

/// Passes if what was taken is within the bound, and the bound not many times as much.
#[track_caller]
fn assert_within(what: &str, (bound, most): (u64, u64)) {
    assert!(most <= bound, "{what}: {most} bytes, the bound is {bound}");
    assert!(most > bound / 4, "{what}: {most} bytes of {bound} were used");
}

#[test]
fn the_bound_holds_for_many_tensors_in_every_container() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let bench = Bench::new(&moe(8, 820));
    for dist in [None, Some(TorchDist::default())] {
        let (out, back) = (bench.dir().join("imported"), bench.dir().join("exported"));
        let name = if dist.is_some() { "torch_dist" } else { "safetensors" };
        let taken = peak(|| {
            let options = options(|o| (o.torch_dist, o.engine.sync) = (dist, false));
            let planned = Planned::import(bench.source(), options).unwrap();
            assert!(planned.source().tensors().len() > 19_000);
            planned.run(&out, &NoProgress).unwrap();
            planned.bound().total()
        });
        assert_within(&format!("import to {name}"), taken);
        let taken = peak(|| {
            let options = export_options(|o| o.engine.sync = false);
            let planned = Planned::export(&out, options).unwrap();
            planned.run(&back, &NoProgress).unwrap();
            planned.bound().total()
        });
        assert_within(&format!("export from {name}"), taken);
        fs::remove_dir_all(&back).unwrap();
        let taken = peak(|| {
            let mut options = ConvertOptions::default();
            options.torch_dist = dist.is_none().then(TorchDist::default);
            options.engine.sync = false;
            let planned = PlannedConvert::new(&out, options).unwrap();
            planned.run(&back, &NoProgress).unwrap();
            planned.bound().total()
        });
        assert_within(&format!("convert from {name}"), taken);
        [out, back].iter().for_each(|dir| fs::remove_dir_all(dir).unwrap());
    }
}

/// A file of safetensors with this header.
fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn hostile_files_take_no_more_than_four_times_their_length() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dimensions = "1,".repeat(2_000_000);
    let shape = format!(r#"{{"a":{{"dtype":"U8","data_offsets":[0,1],"shape":[{dimensions}1]}}}}"#);
    let empty = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let tensors: Vec<_> = (0..200_000).map(|n| format!(r#""t{n}":{empty}"#)).collect();
    let shards: Vec<_> = (0..200_000).map(|n| format!(r#""t{n}":"s{n}.safetensors""#)).collect();
    let pickle = [&b"\x80\x02("[..], &vec![b'}'; 4_000_000], b"t."].concat();
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("model.safetensors", with_header(&shape, b"x"), "`a` has more than 64 dimensions"),
        (
            "model.safetensors",
            with_header(&format!("{{{}}}", tensors.join(",")), b""),
            "200000 tensors of 0 bytes together",
        ),
        (
            "model.safetensors.index.json",
            format!(r#"{{"weight_map":{{{}}}}}"#, shards.join(",")).into(),
            "names more than 10000 files",
        ),
        (".metadata", pickle, "bytes of values, four for each of its own"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, want) in cases {
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let len = bytes.len() as u64;
        drop(bytes);
        let (problem, most) = peak(|| match Tensors::open(dir.path()) {
            Ok(tensors) => tensors.problems().join("; "),
            Err(error) => error.to_string(),
        });
        assert!(problem.contains(want) && problem.contains(name), "{name}: {problem}");
        assert!(most <= 4 * len + (16 << 20), "{name}: {most} bytes for {len}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_config_takes_no_more_than_its_length_and_some() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let bench = Bench::new(&Model::fixture("llama"));
    let config = format!(r#"{{"a":[{}0]}}"#, "[],".repeat(4_000_000));
    fs::write(bench.source().join("config.json"), &config).unwrap();
    let (refused, most) = peak(|| Planned::import(bench.source(), options(|_| {})).err());
    let problem = refused.unwrap().to_string();
    assert!(problem.contains("config.json") && problem.contains("262144 values"), "{problem}");
    assert!(most < 4 * config.len() as u64, "{most}");
}

/// What it says that the model is, is not believed beyond what the tensors can be.
#[test]
fn a_config_of_many_layers_takes_no_more_than_the_checkpoint_has() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let bench = Bench::new(&Model::fixture("mixtral"));
    let config = config_of("mixtral", json!({ "num_hidden_layers": 4096 }));
    fs::write(bench.source().join("config.json"), config.to_string()).unwrap();
    let (refused, most) = peak(|| Planned::import(bench.source(), options(|_| {})).err());
    let problem = refused.unwrap().to_string();
    assert!(problem.contains("layer has 4096") && problem.contains("has 41 tensors"), "{problem}");
    assert!(most < 16 << 20, "{most}");
}

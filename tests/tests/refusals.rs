//! Checkpoints with one thing wrong: refused by name, with nothing written and nothing left.

use connector_core::plan::{Finding, FindingKind};
use connector_core::{Error, Refusal};
use connector_tests::{Bench, Model, Tensor, encode, index, options};
use serde_json::json;
use std::fs;

fn spoilt(spoil: impl FnOnce(&mut Model)) -> Bench {
    let mut model = Model::fixture("llama3_tied");
    spoil(&mut model);
    Bench::new(&model)
}

fn refusal(bench: &Bench) -> Refusal {
    match bench.refuse(options(|_| {})) {
        Error::Refused(refusal) => refusal,
        other => panic!("{other}"),
    }
}

fn about<'a>(refusal: &'a Refusal, kind: FindingKind, subject: &str) -> &'a Finding {
    let found = refusal.findings.iter().find(|f| f.kind == kind && f.subject == subject);
    found.unwrap_or_else(|| panic!("no {kind:?} about {subject} in {refusal}"))
}

#[test]
fn a_renamed_tensor() {
    let bench = spoilt(|m| m.rename("model.norm.weight", "model.norms.weight"));
    let refusal = refusal(&bench);
    let unused = about(&refusal, FindingKind::UnusedTensor, "model.norms.weight");
    assert_eq!(unused.notes, ["did you mean model.norm.weight?"]);
    assert!(unused.rule.as_deref().is_some_and(|rule| rule.contains("rows.rs:")), "{unused:?}");
    let missing = about(&refusal, FindingKind::MissingSource, "decoder.final_layernorm.weight");
    assert!(missing.notes[0].contains("needs model.norm.weight"), "{missing}");
    assert_eq!(refusal.findings.len(), 2, "{refusal}");
}

#[test]
fn a_missing_tensor() {
    let bench = spoilt(|m| drop(m.remove("model.layers.1.mlp.down_proj.weight")));
    let refusal = refusal(&bench);
    let subject = "decoder.layers.1.mlp.linear_fc2.weight";
    let missing = about(&refusal, FindingKind::MissingSource, subject);
    assert!(missing.notes[0].contains("model.layers.1.mlp.down_proj.weight"), "{missing}");
    assert_eq!(refusal.findings.len(), 1, "{refusal}");
}

/// NeMo joins by rank: there, layers 2 and 3 would get each other's keys.
#[test]
fn one_layers_k_proj_missing() {
    let bench = spoilt(|m| drop(m.remove("model.layers.1.self_attn.k_proj.weight")));
    let refusal = refusal(&bench);
    let subject = "decoder.layers.1.self_attention.linear_qkv.weight";
    let missing = about(&refusal, FindingKind::MissingSource, subject);
    assert_eq!(
        missing.notes,
        ["merge_qkv needs model.layers.1.self_attn.k_proj.weight, which is not in the checkpoint"]
    );
    assert_eq!(refusal.findings.len(), 1, "q and v of that layer are spoken for: {refusal}");
}

#[test]
fn an_extra_tensor() {
    for name in
        ["extra", "model.layers.3.mlp.down_proj.weight", "model.layers.01.input_layernorm.weight"]
    {
        let bench = spoilt(|m| m.add(Tensor::noise(name, &[64])));
        let refusal = refusal(&bench);
        about(&refusal, FindingKind::UnusedTensor, name);
        assert_eq!(refusal.findings.len(), 1, "{refusal}");
    }
}

#[test]
fn a_wrong_shape() {
    let bench = spoilt(|m| m.resize("model.layers.2.self_attn.o_proj.weight", 63));
    let refusal = refusal(&bench);
    let subject = "decoder.layers.2.self_attention.linear_proj.weight";
    let wrong = about(&refusal, FindingKind::Shape, subject).to_string();
    for part in ["[64, 96]", "[63, 96]", "model.layers.2.self_attn.o_proj.weight"] {
        assert!(wrong.contains(part), "{part} in {wrong}");
    }
    for (name, shape) in [
        ("model.layers.0.self_attn.q_proj.weight", vec![64, 96]),
        ("model.layers.0.self_attn.v_proj.weight", vec![48 * 64]),
        ("model.embed_tokens.weight", vec![160, 64, 1]),
        ("model.layers.0.mlp.up_proj.weight", vec![64, 112]),
    ] {
        let text =
            spoilt(|m| m.tensor(name).shape = shape.clone()).refuse(options(|_| {})).to_string();
        assert!(text.contains(&format!("{shape:?}")), "{name}: {text}");
    }
}

#[test]
fn mixed_types_in_one_merge() {
    let bench = spoilt(|m| m.tensor("model.layers.0.self_attn.k_proj.weight").dtype = "F16".into());
    let refusal = refusal(&bench);
    let subject = "decoder.layers.0.self_attention.linear_qkv.weight";
    let wrong = about(&refusal, FindingKind::Dtype, subject).to_string();
    for part in [
        "model.layers.0.self_attn.q_proj.weight is BF16",
        "model.layers.0.self_attn.k_proj.weight is F16",
    ] {
        assert!(wrong.contains(part), "{part} in {wrong}");
    }
}

#[test]
fn what_is_wrong_in_every_layer_is_said_once() {
    let bench = spoilt(|m| {
        for layer in 0..3 {
            let name = |part: &str| format!("model.layers.{layer}.mlp.{part}.weight");
            m.rename(&name("gate_proj"), &name("gate_projj"));
        }
    });
    let refusal = refusal(&bench);
    assert_eq!(refusal.findings.len(), 2, "{refusal}");
    let unused =
        about(&refusal, FindingKind::UnusedTensor, "model.layers.{0..2}.mlp.gate_projj.weight");
    assert_eq!(unused.problem, "3 tensors match no rule");
    assert_eq!(unused.notes, ["did you mean model.layers.{0..2}.mlp.gate_proj.weight?"]);
    assert_eq!(unused.keys.len(), 3);
    let missing =
        about(&refusal, FindingKind::MissingSource, "decoder.layers.{0..2}.mlp.linear_fc1.weight");
    assert!(missing.notes[0].contains("model.layers.{0..2}.mlp.gate_proj.weight"), "{missing}");
}

#[test]
fn everything_that_is_wrong_comes_at_once() {
    let bench = spoilt(|m| {
        m.config["hidden_act"] = json!("gelu");
        m.config["rope_parameters"]["rope_type"] = json!("yarn");
        m.add(Tensor::noise("vision.patch.weight", &[3]));
        m.remove("model.layers.0.input_layernorm.weight");
        m.resize("model.norm.weight", 65);
        m.tensor("model.layers.2.mlp.up_proj.weight").dtype = "F16".into();
    });
    let refusal = refusal(&bench);
    about(&refusal, FindingKind::UnusedTensor, "vision.patch.weight");
    about(
        &refusal,
        FindingKind::MissingSource,
        "decoder.layers.0.self_attention.linear_qkv.layer_norm_weight",
    );
    about(&refusal, FindingKind::Shape, "decoder.final_layernorm.weight");
    about(&refusal, FindingKind::Dtype, "decoder.layers.2.mlp.linear_fc1.weight");
    let config: Vec<_> =
        refusal.findings.iter().filter(|f| f.kind == FindingKind::Config).collect();
    let text = refusal.to_string();
    assert!(config.iter().any(|f| f.problem.contains("hidden_act")), "{text}");
    assert!(config.iter().any(|f| f.problem.contains("yarn")), "{text}");
    assert!(text.starts_with("this checkpoint does not fit the Llama importer ("), "{text}");
    assert!(text.contains("nothing was written"), "{text}");
}

#[test]
fn a_truncated_file() {
    let model = Model::fixture("llama");
    let whole = encode(&model.tensors);
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let bench = Bench::new(&model);
    for len in [0, 7, 8, 100, 8 + header - 1, 8 + header, 8 + header + 1, whole.len() - 1] {
        fs::write(bench.source().join("model.safetensors"), &whole[..len]).unwrap();
        let text = bench.refuse(options(|_| {})).to_string();
        assert!(text.contains("model.safetensors"), "{len}: {text}");
    }
    fs::write(bench.source().join("model.safetensors"), [&whole[..], b"\0"].concat()).unwrap();
    assert!(bench.refuse(options(|_| {})).to_string().contains("after its last tensor"));
}

#[test]
fn a_truncated_shard_is_told_with_the_tensor_that_is_cut() {
    let model = Model::fixture("llama");
    let bench = Bench::empty();
    let shards = model.write_shards(&bench.source(), 3, true);
    let path = bench.source().join(&shards[1]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let text = bench.refuse(options(|_| {})).to_string();
    let last = model.tensors.iter().skip(1).step_by(3).next_back().unwrap();
    assert!(text.contains(&shards[1]) && text.contains(&last.name), "{text}");
}

#[test]
fn a_tensor_in_two_shards() {
    for with_index in [true, false] {
        let model = Model::fixture("llama");
        let bench = Bench::empty();
        let shards = model.write_shards(&bench.source(), 3, with_index);
        let again = encode(model.tensors.iter().skip(2).step_by(3).chain([&model.tensors[0]]));
        fs::write(bench.source().join(&shards[2]), again).unwrap();
        let text = bench.refuse(options(|_| {})).to_string();
        let name = &model.tensors[0].name;
        let want =
            format!("tensor `{name}` is in several shards: `{}`, `{}`", shards[0], shards[2]);
        assert!(text.contains(&want), "{text}");
    }
}

#[test]
fn a_tensor_twice_in_one_file() {
    let bench = spoilt(|m| {
        let twin = m.tensor("model.norm.weight").clone();
        m.add(twin);
    });
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(text.contains("the key `model.norm.weight` comes more than once"), "{text}");
}

#[test]
fn a_shard_that_is_not_there() {
    let bench = Bench::empty();
    let shards = Model::fixture("llama").write_shards(&bench.source(), 3, true);
    fs::remove_file(bench.source().join(&shards[1])).unwrap();
    let refusal = refusal(&bench);
    let text = refusal.to_string();
    assert!(text.contains(&format!("shard `{}` does not exist", shards[1])), "{text}");
    assert_eq!(refusal.findings.len(), 1, "what is missing because of it is no news: {text}");
}

#[test]
fn an_index_that_does_not_tell_the_truth() {
    let model = Model::fixture("llama");
    let bench = Bench::empty();
    let shards = model.write_shards(&bench.source(), 2, true);
    let write = |homes: Vec<(&str, &str)>| {
        fs::write(bench.source().join("model.safetensors.index.json"), index(homes)).unwrap();
    };
    let truth: Vec<(&str, &str)> =
        model.tensors.iter().map(|t| &*t.name).zip(shards.iter().map(|s| &**s).cycle()).collect();
    write(truth.clone());
    bench.import(options(|_| {}));
    fs::remove_dir_all(bench.out()).unwrap();

    let (first, home) = truth[0];
    let swapped = [(first, &*shards[1])].into_iter().chain(truth[1..].iter().copied()).collect();
    let unlisted = truth[1..].to_vec();
    let invented = truth.iter().copied().chain([("ghost", home)]).collect();
    let outside = truth.iter().copied().chain([("ghost", "../../etc/passwd")]).collect();
    for (homes, want) in [
        (swapped, format!("lists tensor `{first}` in `{}`, but it is in `{home}`", shards[1])),
        (unlisted, format!("`{first}` is in `{home}`, but the index does not list it")),
        (invented, format!("lists tensor `ghost` in `{home}`, but no shard holds it")),
        (outside, "only names of files beside it are allowed".to_string()),
    ] {
        write(homes);
        let text = bench.refuse(options(|_| {})).to_string();
        assert!(text.contains(&want), "{want} in {text}");
    }
}

#[test]
fn no_config() {
    let text = spoilt(|m| m.config = json!(null)).refuse(options(|_| {})).to_string();
    assert!(text.contains("config.json: is not there"), "{text}");
}

#[test]
fn what_is_no_checkpoint_at_all() {
    let bench = Bench::empty();
    assert!(bench.unchanged(|| open(&bench)).to_string().contains("source"));
    fs::create_dir(bench.source()).unwrap();
    assert!(bench.refuse(options(|_| {})).to_string().contains("is empty"));
    fs::write(bench.source().join("pytorch_model.bin"), "x").unwrap();
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(text.contains("pytorch_model.bin"), "{text}");
}

fn open(bench: &Bench) -> connector_core::Result<connector_core::connector::Record> {
    connector_core::import_ckpt(bench.source(), bench.out(), options(|_| {}))
}

use crate::support::{imports, model_config, refusal};
use connector_core::Error;
use connector_core::connector::{Experts, VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::plan::FindingKind;
use connector_tests::{
    Bench, Fill, Model, Stored, Tensor, assert_same_tensors, config_of, encode, export_options,
    mixtral, options, read_tensors,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn hub(changes: Value) -> Model {
    let mut model = mixtral(config_of("mixtral", changes));
    model.config["sliding_window"] = json!(null);
    model
}

/// The same model as transformers 5 holds it in memory.
fn fused(mut model: Model) -> Model {
    let size = |name: &str| model.config[name].as_u64().unwrap() as usize;
    let (layers, experts) = (size("num_hidden_layers"), size("num_local_experts"));
    let (hidden, ffn) = (size("hidden_size"), size("intermediate_size"));
    for layer in 0..layers {
        let (old, new) =
            (format!("model.layers.{layer}.block_sparse_moe"), format!("model.layers.{layer}.mlp"));
        model.rename(&format!("{old}.gate.weight"), &format!("{new}.gate.weight"));
        let mut up = Tensor::new(
            &format!("{new}.experts.gate_up_proj"),
            "F32",
            &[experts, 2 * ffn, hidden],
            Fill::Zero,
        );
        let mut down = Tensor::new(
            &format!("{new}.experts.down_proj"),
            "F32",
            &[experts, hidden, ffn],
            Fill::Zero,
        );
        (up.bytes, down.bytes) = (Vec::new(), Vec::new());
        for e in 0..experts {
            let mut take =
                |part: &str| model.remove(&format!("{old}.experts.{e}.{part}.weight")).bytes;
            up.bytes.extend([take("w1"), take("w3")].concat());
            down.bytes.extend(take("w2"));
        }
        model.add(up);
        model.add(down);
    }
    model
}

#[test]
fn what_it_computes_is_in_the_config() {
    imports(
        &Model::fixture("mixtral"),
        &json!({
            "num_moe_experts": 4, "moe_router_topk": 2, "moe_ffn_hidden_size": 40,
            "ffn_hidden_size": 40, "moe_router_pre_softmax": false, "moe_grouped_gemm": false,
            "moe_router_load_balancing_type": "aux_loss", "moe_input_jitter_eps": null,
            "seq_length": 512, "rotary_base": 1e6, "window_size": null,
            // NeMo has 0.01 for every Mixtral.
            "moe_aux_loss_coeff": 0.001,
        }),
    );
    let changes = json!({
        "num_local_experts": 3, "num_experts_per_tok": 1, "router_aux_loss_coef": 0.02,
        "router_jitter_noise": 0.1, "output_router_logits": true,
    });
    imports(
        &hub(changes),
        &json!({
            "num_moe_experts": 3, "moe_router_topk": 1, "moe_aux_loss_coeff": 0.02,
            "moe_input_jitter_eps": 0.1,
        }),
    );
}

#[test]
fn absent_fields_are_those_of_transformers() {
    let mut model = hub(json!({"num_local_experts": 8}));
    for name in ["num_local_experts", "num_experts_per_tok", "router_aux_loss_coef", "rope_theta"] {
        model.config.as_object_mut().unwrap().shift_remove(name);
    }
    imports(
        &model,
        &json!({
            "num_moe_experts": 8, "moe_router_topk": 2, "moe_aux_loss_coeff": 0.001,
            "rotary_base": 1e6,
        }),
    );
    // Transformers 5 takes this name too.
    model.config["num_experts"] = json!(8);
    imports(&model, &json!({"num_moe_experts": 8}));
    model.config["num_local_experts"] = json!(4);
    let text = refusal(&model);
    assert!(text.contains("\"num_experts\" is 8, but \"num_local_experts\" is 4"), "{text}");
    // Mixtral of its first days has a window, and transformers keeps to it.
    let mut model = hub(json!({}));
    model.config["sliding_window"] = json!(4096);
    imports(&model, &json!({"window_size": [4095, 0], "seq_length": 512}));
}

#[test]
fn numbers_of_experts_that_cannot_be_are_refused() {
    for (name, value, says) in [
        ("num_local_experts", json!(0), "is 0; it should be from 1"),
        ("num_local_experts", json!(1u64 << 40), "it should be from 1"),
        ("num_local_experts", json!(-4), "\"num_local_experts\" is -4"),
        ("num_local_experts", json!("4"), "\"num_local_experts\" is \"4\""),
        ("num_experts_per_tok", json!(0), "is 0; there are 4 experts"),
        ("num_experts_per_tok", json!(5), "is 5; there are 4 experts"),
        ("router_jitter_noise", json!("a bit"), "\"router_jitter_noise\" is \"a bit\""),
        ("hidden_act", json!("gelu"), "\"hidden_act\" is \"gelu\""),
        ("shared_expert_intermediate_size", json!(8), "\"shared_expert_intermediate_size\""),
        ("norm_topk_prob", json!(true), "\"norm_topk_prob\""),
    ] {
        let mut model = Model::fixture("mixtral");
        model.config[name] = value;
        let text = refusal(&model);
        assert!(text.contains(&format!("\"{name}\"")) && text.contains(says), "{text}");
    }
    // As many as are allowed in as many layers, of which nobody has the memory.
    let mut model = Model::fixture("mixtral");
    model.config["num_local_experts"] = json!(4096);
    model.config["num_hidden_layers"] = json!(4096);
    assert!(refusal(&model).contains("the axes are too long"));
}

/// Numbers, not texts: layer 10 comes after layer 9, expert 10 after expert 9. Every element is
/// another number, so that nothing can stand in for anything else.
#[test]
fn many_layers_and_many_experts_keep_their_places() {
    const SIZES: (usize, usize, usize) = (13, 12, 8);
    let (layers, experts, ffn) = SIZES;
    let mut model = hub(json!({
        "num_hidden_layers": layers, "num_local_experts": experts, "intermediate_size": ffn,
        "vocab_size": 5, "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1,
    }));
    let mut next = 0u32;
    for tensor in &mut model.tensors {
        tensor.dtype = "I32".into();
        for element in tensor.bytes.chunks_exact_mut(4) {
            element.copy_from_slice(&next.to_le_bytes());
            next += 1;
        }
    }
    let mut want: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let source: BTreeMap<&str, &[u8]> =
        model.tensors.iter().map(|t| (t.name.as_str(), t.bytes.as_slice())).collect();
    for layer in 0..layers {
        let from = |name: &str| source[format!("model.layers.{layer}.{name}.weight").as_str()];
        let mut to = |name: String, bytes: Vec<u8>| {
            want.insert(format!("decoder.layers.{layer}.{name}"), bytes);
        };
        to("pre_mlp_layernorm.weight".into(), from("post_attention_layernorm").into());
        to("mlp.router.weight".into(), from("block_sparse_moe.gate").into());
        for e in 0..experts {
            let expert = |part: &str| from(&format!("block_sparse_moe.experts.{e}.{part}"));
            let name = format!("mlp.experts.local_experts.{e}");
            to(format!("{name}.linear_fc1.weight"), [expert("w1"), expert("w3")].concat());
            to(format!("{name}.linear_fc2.weight"), expert("w2").into());
        }
    }
    let apart = Bench::new(&model);
    apart.import(options(|_| {}));
    let got = apart.weights();
    for (name, bytes) in &want {
        assert!(got[name].bytes == *bytes, "{name}");
    }
    // The rest is four tensors in each layer, and three outside.
    assert_eq!(got.len(), want.len() + 3 * layers + 3);

    let mut one = fused(model.clone());
    one.tensors.iter_mut().for_each(|tensor| tensor.dtype = "I32".into());
    let together = Bench::new(&one);
    together.import(options(|_| {}));
    assert_same_tensors(&together.weights(), &got);

    let grouped = Bench::new(&model);
    grouped.import(options(|o| o.experts = Some(Experts::Grouped)));
    let renamed = grouped.weights();
    assert_eq!(renamed.len(), got.len());
    for (layer, e) in [(1, 2), (2, 1), (2, 11), (11, 2), (10, 10), (12, 11)] {
        for part in ["linear_fc1", "linear_fc2"] {
            let name = format!("decoder.layers.{layer}.mlp.experts.{part}.weight{e}");
            let local =
                format!("decoder.layers.{layer}.mlp.experts.local_experts.{e}.{part}.weight");
            assert!(renamed[&name].bytes == got[&local].bytes, "{name}");
        }
    }
}

fn assert_equal(source: &Path, checkpoint: &Path) {
    let verified = verify(source, checkpoint, &VerifyOptions::default(), &NoProgress).unwrap();
    assert!(verified.is_equal(), "{:?}", verified.differences);
}

/// The config says which names the experts have, so that whoever reads the model knows.
#[test]
fn the_names_of_experts_are_those_of_the_config() {
    let (local, grouped) = (
        "decoder.layers.1.mlp.experts.local_experts.3.linear_fc1.weight",
        "decoder.layers.1.mlp.experts.linear_fc1.weight3",
    );
    for (model, experts, name, flag) in [
        (Model::fixture("mixtral"), None, local, false),
        (Model::fixture("mixtral"), Some(Experts::Local), local, false),
        (Model::fixture("mixtral"), Some(Experts::Grouped), grouped, true),
        (fused(hub(json!({}))), Some(Experts::Grouped), grouped, true),
    ] {
        let bench = Bench::new(&model);
        bench.import(options(|o| o.experts = experts));
        let weights = bench.weights();
        let named = weights.keys().filter(|key| key.contains("local_experts")).count();
        assert_eq!(named, if flag { 0 } else { 16 });
        assert!(weights.contains_key(name), "{name}");
        assert_eq!(model_config(&bench)["moe_grouped_gemm"], flag);
        let asked = bench.conversion()["options"]["experts"].clone();
        let want = experts.map(|e| if e == Experts::Local { "local" } else { "grouped" });
        assert_eq!(asked, json!(want));
        assert_equal(&bench.source(), &bench.out());
        bench.export(export_options(|_| {}));
        assert_equal(&bench.out(), &bench.back());
    }
    // `--only` goes by the names that are written.
    let bench = Bench::new(&Model::fixture("mixtral"));
    bench.import(options(|o| {
        o.experts = Some(Experts::Grouped);
        o.plan.only = vec!["decoder.layers.0.mlp.experts.linear_fc*.weight{e}".into()];
    }));
    assert_eq!(bench.weights().len(), 8);
    assert_equal(&bench.source(), &bench.out());
    // A dense model has none to be named.
    let bench = Bench::new(&Model::fixture("mistral"));
    let text = bench.refuse(options(|o| o.experts = Some(Experts::Grouped))).to_string();
    assert!(text.contains("there are no experts to be named"), "{text}");
}

/// The name of an expert's parameter in Megatron-core's other implementation of experts.
fn other_name(name: &str) -> String {
    let Some((layer, expert)) = name.split_once(".mlp.experts.") else { return name.into() };
    let renamed = match expert.strip_prefix("local_experts.").and_then(|e| e.split_once('.')) {
        Some((e, parameter)) => format!("{parameter}{e}"),
        None => {
            let (parameter, e) = expert.split_once(".weight").expect("a weight");
            format!("local_experts.{e}.{parameter}.weight")
        }
    };
    format!("{layer}.mlp.experts.{renamed}")
}

#[test]
fn experts_are_exported_by_either_name_whatever_the_config_says() {
    for experts in [Experts::Local, Experts::Grouped] {
        let bench = Bench::new(&Model::fixture("mixtral"));
        bench.import(options(|o| o.experts = Some(experts)));
        let weights = bench.weights();
        let tensors = weights.iter().map(|(name, stored)| {
            let Stored { dtype, shape, bytes } = stored.clone();
            Tensor { name: other_name(name), dtype, shape, bytes }
        });
        let tensors: Vec<_> = tensors.collect();
        assert_eq!(tensors.iter().filter(|t| !weights.contains_key(&t.name)).count(), 16);
        fs::write(bench.out().join("weights/model.safetensors"), encode(&tensors)).unwrap();
        bench.export(export_options(|_| {}));
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
    }
}

#[test]
fn experts_that_are_not_as_the_config_says_are_refused() {
    let moe = "model.layers.1.block_sparse_moe";
    type Spoil = fn(&mut Model);
    let cases: [(Spoil, FindingKind, &str, &str); 6] = [
        (
            |m| drop(m.remove("model.layers.1.block_sparse_moe.experts.2.w3.weight")),
            FindingKind::MissingSource,
            "decoder.layers.1.mlp.experts.local_experts.2.linear_fc1.weight",
            "merge_fc1 needs model.layers.1.block_sparse_moe.experts.2.w3.weight",
        ),
        (
            |m| {
                for part in ["w1", "w2", "w3"] {
                    m.remove(&format!("model.layers.1.block_sparse_moe.experts.3.{part}.weight"));
                }
            },
            FindingKind::MissingSource,
            "decoder.layers.1.mlp.experts.local_experts.3.linear_fc1.weight",
            "experts.3.w1.weight",
        ),
        (
            |m| m.config["num_local_experts"] = json!(5),
            FindingKind::MissingSource,
            "decoder.layers.{0,1}.mlp.experts.local_experts.4.linear_fc1.weight",
            "model.layers.{0,1}.block_sparse_moe.experts.4.w1.weight",
        ),
        (
            |m| m.config["num_local_experts"] = json!(3),
            FindingKind::UnusedTensor,
            "model.layers.{0,1}.block_sparse_moe.experts.3.w1.weight",
            "this config has no parameter for it",
        ),
        (
            |m| m.resize("model.layers.1.block_sparse_moe.experts.0.w3.weight", 39),
            FindingKind::Shape,
            "decoder.layers.1.mlp.experts.local_experts.0.linear_fc1.weight",
            "[39, 32]",
        ),
        (
            |m| m.resize("model.layers.0.block_sparse_moe.gate.weight", 5),
            FindingKind::Shape,
            "decoder.layers.0.mlp.router.weight",
            "[5, 32]",
        ),
    ];
    for (spoil, kind, subject, says) in cases {
        let mut model = Model::fixture("mixtral");
        assert!(model.tensors.iter().any(|tensor| tensor.name.starts_with(moe)));
        spoil(&mut model);
        let error = Bench::new(&model).refuse(options(|_| {}));
        let Error::Refused(refusal) = &error else { panic!("{error}") };
        let found = refusal.findings.iter().find(|f| f.kind == kind && f.subject == subject);
        let found = found.unwrap_or_else(|| panic!("no {subject} in {error}")).to_string();
        assert!(found.contains(says), "{says} in {error}");
    }
}

#[test]
fn fused_experts_that_are_not_as_the_config_says_are_refused() {
    let up = "model.layers.1.mlp.experts.gate_up_proj";
    let spoilt = |spoil: &dyn Fn(&mut Model)| {
        let mut model = fused(hub(json!({})));
        spoil(&mut model);
        refusal(&model)
    };
    let text = spoilt(&|m| m.resize(up, 3));
    assert!(text.contains("is [3, 80, 32]: its first dimension should be 4"), "{text}");
    let text = spoilt(&|m| m.resize(up, 5));
    assert!(text.contains("is [5, 80, 32]: its first dimension should be 4"), "{text}");
    // The other way round, as Llama 4 has it.
    let text = spoilt(&|m| m.tensor(up).shape = vec![4, 32, 80]);
    assert!(text.contains("[80, 32]") && text.contains("[32, 80]"), "{text}");
    let text = spoilt(&|m| drop(m.remove(up)));
    assert!(text.contains(&format!("needs {up}, which is not in the checkpoint")), "{text}");
    // One layer in each way.
    let mut model = fused(hub(json!({})));
    model.tensors.retain(|tensor| !tensor.name.starts_with("model.layers.1.mlp"));
    let apart = hub(json!({}));
    let moe = |tensor: &&Tensor| tensor.name.starts_with("model.layers.1.block_sparse_moe");
    model.tensors.extend(apart.tensors.iter().filter(moe).cloned());
    let text = refusal(&model);
    assert!(text.contains("the other keys are those of `"), "{text}");
}

//! What no model is made of, or computes with, is refused with a name.

use crate::support::{load, options};
use candle_core::{DType, Device, Tensor};
use connector_core::Error;
use connector_core::gpt::GptConfig;
use connector_core::model::{Ending, GenerateOptions, Loaded, ModelError};
use connector_tests::{Bench, Model, Stored, config, encode, fixture, llama, read_tensors};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn refused(result: connector_core::Result<Tensor>) -> ModelError {
    match result {
        Err(Error::Model(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tokens_are_checked_before_they_are_used() {
    let model = load(&fixture("llama/hf"));
    let device = &Device::Cpu;
    let tensor = |ids: &[i64], shape: &[usize]| Tensor::from_slice(ids, shape, device).unwrap();
    let refuse = |ids: &[i64], shape: &[usize]| refused(model.forward(&tensor(ids, shape)));
    assert_eq!(
        refuse(&[1, 2, 3, 97], &[2, 2]),
        ModelError::NoSuchToken { id: 97, sequence: 1, position: 1, vocab_size: 97 }
    );
    assert!(matches!(refuse(&[-1, 2], &[1, 2]), ModelError::NoSuchToken { id: -1, .. }));
    assert!(matches!(refuse(&[i64::MAX], &[1, 1]), ModelError::NoSuchToken { .. }));
    assert_eq!(refuse(&[1; 257], &[1, 257]), ModelError::TooLong { tokens: 257, seq_length: 256 });
    for (ids, shape) in
        [(&[1, 2][..], &[2][..]), (&[], &[0, 2]), (&[], &[2, 0]), (&[1], &[1, 1, 1])]
    {
        assert_eq!(refuse(ids, shape), ModelError::NotABatch { shape: shape.to_vec() });
    }
    // What a cache holds counts too.
    let mut cache = model.cache();
    let mut add =
        |ids: &[i64], shape: &[usize]| model.hidden(&tensor(ids, shape), Some(&mut cache));
    add(&[1; 400], &[2, 200]).unwrap();
    assert_eq!(refused(add(&[1; 3], &[3, 1])), ModelError::OtherBatch { held: 2, batch: 3 });
    let long = refused(add(&[1; 114], &[2, 57]));
    assert_eq!(long, ModelError::TooLong { tokens: 257, seq_length: 256 });
    add(&[1; 112], &[2, 56]).unwrap();
    assert_eq!(cache.len(), 256);
}

/// Imports, changes the tensors of `weights/`, and opens it.
fn spoilt(spoil: impl FnOnce(&mut BTreeMap<String, Stored>)) -> String {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(Default::default());
    let path = bench.out().join("weights/model.safetensors");
    let mut tensors = read_tensors(&path);
    spoil(&mut tensors);
    let tensors: Vec<connector_tests::Tensor> = tensors
        .into_iter()
        .map(|(name, Stored { dtype, shape, bytes })| connector_tests::Tensor {
            name,
            dtype,
            shape,
            bytes,
        })
        .collect();
    std::fs::write(&path, encode(&tensors)).unwrap();
    match Loaded::open(bench.out(), &options(DType::F32)) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it opens"),
    }
}

#[test]
fn weights_that_do_not_fit_are_all_named() {
    let text = spoilt(|tensors| {
        tensors.remove("decoder.layers.0.mlp.linear_fc2.weight");
        tensors.remove("decoder.layers.1.mlp.linear_fc2.weight");
        let qkv = tensors.remove("decoder.layers.1.self_attention.linear_qkv.weight").unwrap();
        tensors.insert("decoder.layers.1.self_attention.linear_qvk.weight".into(), qkv);
        let norm = tensors.get_mut("decoder.final_layernorm.weight").unwrap();
        norm.shape[0] -= 1;
        norm.bytes.truncate(47 * 4);
    });
    for part in [
        "this checkpoint cannot be computed (4 findings)",
        "decoder.layers.{0,1}.mlp.linear_fc2.weight",
        "decoder.layers.1.self_attention.linear_qkv.weight: is not in the checkpoint",
        "decoder.layers.1.self_attention.linear_qvk.weight: is no parameter",
        "decoder.final_layernorm.weight: is [47]",
        "[48]",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Opens an import of the fixture `name` after its model.yaml has been changed.
fn with_yaml(name: &str, changes: &[(&str, Value)]) -> Result<(), String> {
    let bench = Bench::new(&Model::fixture(name));
    bench.import(Default::default());
    let path = bench.out().join("context/model.yaml");
    let mut yaml: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (field, value) in changes {
        yaml["config"][field] = value.clone();
    }
    std::fs::write(&path, serde_json::to_string(&yaml).unwrap()).unwrap();
    let opened = Loaded::open(bench.out(), &options(DType::F32));
    opened.and_then(|loaded| loaded.model()).map(drop).map_err(|error| error.to_string())
}

#[test]
fn configs_that_make_no_model_are_refused() {
    for (field, value, want) in [
        ("num_layers", json!(4_000_000_000u64), "from 1 to 4096"),
        ("num_layers", json!(0), "from 1 to 4096"),
        ("hidden_size", json!(0), "from 1 to"),
        ("num_query_groups", json!(4), "does not divide num_attention_heads"),
        ("kv_channels", json!(7), "rotations take pairs"),
        ("vocab_size", json!(0), "from 1 to"),
        ("seq_length", json!(0), "from 1 to"),
        ("layernorm_epsilon", json!(-1.0), "from 0 to 1"),
        ("normalization", json!("BatchNorm"), "\"RMSNorm\" or \"LayerNorm\""),
        ("normalization", json!("LayerNorm"), "the schema does not declare it"),
        ("position_embedding_type", json!("learned_absolute"), "\"rope\""),
        ("activation_func", json!("relu"), "gelu_pytorch_tanh"),
        ("layernorm_position", json!("between"), "\"after\" or \"both\""),
        ("softmax_type", json!("off-by-one"), "\"vanilla\" or \"learnable\""),
        ("softmax_scale", json!(0.0), "above 0"),
        ("rotary_percent", json!(1.5), "1 or less"),
        ("rotary_percent", json!(0.4), "rotations take pairs"),
        ("rotary_percent", json!(1e-9), "rotations take pairs"),
        ("window_attn_skip_freq", json!([1, 2]), "0, no window, or 1, a window"),
        ("no_rope_freq", json!([1]), "for 1 layers; there are 2"),
        ("window_size", json!([3, 1]), "causal"),
        // It fits no tensor that is there.
        ("ffn_hidden_size", json!(81), "under this config it should be"),
        ("num_layers", json!(3), "is not in the checkpoint"),
        ("num_layers", json!(1), "is no parameter of this model"),
    ] {
        let error = with_yaml("llama", &[(field, value.clone())]).unwrap_err();
        assert!(error.contains(want), "{field} {value}: {error}");
    }
    for (field, value, want) in [
        ("moe_router_topk", json!(5), "there are 4 experts"),
        ("moe_router_topk", json!(0), "there are 4 experts"),
        ("num_moe_experts", json!(1_000_000), "from 1 to 4096"),
        ("moe_router_num_groups", json!(3), "does not divide num_moe_experts"),
        ("moe_router_group_topk", json!(2), "2 of 1 groups"),
        ("moe_router_score_function", json!("tanh"), "\"softmax\" or \"sigmoid\""),
    ] {
        let error = with_yaml("mixtral", &[(field, value.clone())]).unwrap_err();
        assert!(error.contains(want), "{field} {value}: {error}");
    }
    // All of them at once.
    let changes = [("kv_channels", json!(7)), ("normalization", json!("BatchNorm"))];
    assert!(with_yaml("llama", &changes).unwrap_err().contains("(2 findings)"));
}

/// The softmax over all experts, without scaling the chosen ones: another model, which this one is
/// too.
#[test]
fn a_softmax_before_the_choice_is_computed_so() {
    with_yaml("mixtral", &[("moe_router_pre_softmax", json!(true))]).unwrap();
}

#[test]
fn texts_end_where_they_should() {
    let model = Model {
        files: Default::default(),
        ..llama(config(json!({
            "max_position_embeddings": 16, "vocab_size": 50, "torch_dtype": "float32",
        })))
    };
    let mut model = model;
    crate::naive::tame(&mut model);
    let bench = Bench::new(&model);
    let model = load(&bench.source());
    let run = |prompt: usize, max_tokens, stop: &[u32]| {
        let mut options = GenerateOptions::default();
        (options.max_tokens, options.stop) = (max_tokens, stop.to_vec());
        let mut generation = model.generate(&vec![1; prompt], options).unwrap();
        let tokens: Vec<u32> = generation.by_ref().map(Result::unwrap).collect();
        assert!(generation.next().is_none(), "it stays ended");
        (tokens, generation.ending().unwrap())
    };
    let (all, ending) = run(3, 100, &[]);
    assert_eq!((all.len(), ending), (13, Ending::SeqLength));
    assert_eq!(run(16, 100, &[]), (vec![], Ending::SeqLength));
    assert_eq!(run(3, 4, &[]), (all[..4].to_vec(), Ending::MaxTokens));
    assert_eq!(run(3, 0, &[]), (vec![], Ending::MaxTokens));
    assert_eq!(run(3, 100, &[all[0]]), (vec![], Ending::Stop));
    let first = all.iter().position(|token| *token == all[2]).unwrap();
    assert_eq!(run(3, 100, &[all[2]]), (all[..first].to_vec(), Ending::Stop));
    assert!(matches!(
        model.generate(&[], GenerateOptions::default()),
        Err(Error::Model(ModelError::NotABatch { .. }))
    ));
    assert!(matches!(
        model.generate(&[1; 17], GenerateOptions::default()),
        Err(Error::Model(ModelError::TooLong { tokens: 17, seq_length: 16 }))
    ));
    // Each is the most likely one after all before it.
    let mut tokens = vec![1, 1, 1];
    for next in all {
        let shape = (1, tokens.len());
        let logits = model.forward(&Tensor::from_slice(&tokens, shape, &Device::Cpu).unwrap());
        let logits = logits.unwrap().squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        let last = logits.last().unwrap();
        assert!(last.iter().all(|logit| *logit <= last[next as usize]), "{tokens:?}: {next}");
        tokens.push(next);
    }
}

/// A config of one's own goes with parameters of one's own.
#[test]
fn parameters_of_another_config_are_refused() {
    let loaded = Loaded::open(fixture("llama/hf"), &options(DType::F32)).unwrap();
    let mut config: GptConfig = loaded.config.clone();
    config.attention_bias = true;
    let error = connector_core::model::GPTModel::new(&config, &loaded.parameters).unwrap_err();
    assert!(error.to_string().contains("linear_qkv.bias"), "{error}");
    config.attention_bias = false;
    config.num_layers = 1;
    let error = connector_core::model::GPTModel::new(&config, &loaded.parameters).unwrap_err();
    assert!(error.to_string().contains("does not compute with"), "{error}");
}

//! Models of any shape, against the same in plain loops; whole, in batches and one token at a time.

use crate::naive::{Naive, tame};
use crate::support::{distance, load, options};
use candle_core::{DType, Device, Tensor};
use connector_core::model::{GPTModel, Loaded};
use connector_tests::{Bench, Model, config_of, llama, mixtral};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};

/// Weights of up to 0.5 make logits of some tens.
const CLOSE: f64 = 2e-3;

fn tokens(count: usize, vocabulary: usize) -> Vec<usize> {
    (0..count).map(|i| (i * i * 7 + 3 * i + 1) % vocabulary).collect()
}

fn tensor(tokens: &[usize]) -> Tensor {
    let ids: Vec<u32> = tokens.iter().map(|&token| token as u32).collect();
    Tensor::from_vec(ids, (1, tokens.len()), &Device::Cpu).unwrap()
}

fn naive(model: &Model, tokens: &[usize]) -> Tensor {
    let logits = Naive::new(model).logits(tokens);
    let shape = (1, tokens.len(), logits[0].len());
    Tensor::from_vec(logits.concat(), shape, &Device::Cpu).unwrap()
}

/// The logits of the tokens, the first `start` at once, the others one after the other.
fn one_by_one(model: &GPTModel, tokens: &Tensor, start: usize) -> Tensor {
    let mut cache = model.cache();
    let mut all =
        vec![model.hidden(&tokens.narrow(1, 0, start).unwrap(), Some(&mut cache)).unwrap()];
    for at in start..tokens.dim(1).unwrap() {
        let token = tokens.narrow(1, at, 1).unwrap();
        all.push(model.hidden(&token, Some(&mut cache)).unwrap());
    }
    assert_eq!(cache.len(), tokens.dim(1).unwrap());
    model.logits(&Tensor::cat(&all, 1).unwrap()).unwrap()
}

/// Any dense Llama, Mistral or Gemma, or Mixtral, of a few numbers.
fn configs() -> impl Strategy<Value = Value> {
    let family = prop_oneof![Just("llama"), Just("mistral"), Just("gemma"), Just("mixtral")];
    let rope = prop_oneof![
        Just(Value::Null),
        (1.0..8.0f64).prop_map(|factor| json!({"rope_type": "linear", "factor": factor})),
        (1usize..64, 1.0..8.0f64).prop_map(|(context, factor)| json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": context,
        })),
    ];
    let shape = (1usize..4, 1usize..4, 1usize..5, 1usize..6, 1usize..3);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(1usize..12));
    (family, rope, shape, flags, 1usize..5, 1usize..5).prop_map(
        |(family, rope, shape, (tied, bias, mlp_bias, window), experts, topk)| {
            let (groups, queries, half, hidden, layers) = shape;
            let mut config = config_of(
                family,
                json!({
                    "num_hidden_layers": layers, "hidden_size": 4 * hidden, "intermediate_size": 12,
                    "num_attention_heads": groups * queries, "num_key_value_heads": groups,
                    "head_dim": 2 * half, "rope_scaling": rope, "vocab_size": 50,
                    "tie_word_embeddings": tied || family == "gemma", "rope_theta": 100.0,
                    "torch_dtype": "float32", "rms_norm_eps": 1e-5,
                }),
            );
            match family {
                "llama" => {
                    config["attention_bias"] = bias.into();
                    config["mlp_bias"] = mlp_bias.into();
                }
                "gemma" => config["attention_bias"] = bias.into(),
                "mistral" => config["sliding_window"] = window.into(),
                _ => {
                    config["sliding_window"] = window.into();
                    config["num_local_experts"] = experts.into();
                    config["num_experts_per_tok"] = topk.min(experts).into();
                }
            }
            config
        },
    )
}

fn model(config: Value) -> Model {
    let mut model = match config["model_type"] == "mixtral" {
        true => mixtral(config),
        false => llama(config),
    };
    tame(&mut model);
    model
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_shape_computes_what_loops_do(config in configs(), start in 1usize..10) {
        let source = model(config);
        let bench = Bench::new(&source);
        let model = load(&bench.source());
        let tokens = tokens(10, 50);
        let want = naive(&source, &tokens);
        let whole = model.forward(&tensor(&tokens)).unwrap();
        let apart = distance(&whole, &want);
        prop_assert!(apart < CLOSE, "{apart:e}: {}", source.config);
        let apart = distance(&one_by_one(&model, &tensor(&tokens), start), &want);
        prop_assert!(apart < CLOSE, "one by one, from {start} on: {apart:e}: {}", source.config);
    }
}

/// Longer than the blocks that attention is computed in, with and without a window.
#[test]
fn long_prompts_compute_what_loops_do() {
    for window in [Value::Null, json!(30), json!(300)] {
        let source = model(config_of(
            "mistral",
            json!({
                "num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8, "head_dim": 4,
                "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 50,
                "sliding_window": window, "torch_dtype": "float32",
            }),
        ));
        // Null takes the field out, which is a window of 4096.
        let bench = Bench::new(&source);
        let model = load(&bench.source());
        let tokens = tokens(400, 50);
        let want = naive(&source, &tokens);
        let apart = distance(&model.forward(&tensor(&tokens)).unwrap(), &want);
        assert!(apart < CLOSE, "{window}: {apart:e}");
        let apart = distance(&one_by_one(&model, &tensor(&tokens), 390), &want);
        assert!(apart < CLOSE, "{window}: {apart:e}");
        // With gradients all queries are taken at once.
        let mut loaded = Loaded::open(bench.source(), &options(DType::F32)).unwrap();
        loaded.parameters.train(|_| true).unwrap();
        let trained = loaded.model().unwrap().forward(&tensor(&tokens)).unwrap();
        let apart = distance(&trained, &want);
        assert!(apart < CLOSE, "{window}, with gradients: {apart:e}");
    }
}

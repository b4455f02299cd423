//! Tokens per second of connector's Llama and of candle-transformers', with the same weights in the
//! same run, by turns:
//!
//!     cargo bench -p connector-core --features oracle --bench llama
//!
//! The layers are TinyLlama's (2048 wide, 32 heads in 4 groups), four of them, in f32, with random
//! weights. Reports the median of the rounds, and that both choose the same tokens.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::GptConfig;
use connector_core::model::{GPTModel, GenerateOptions, Parameters};
use connector_core::schema::Model;
use connector_core::{ModelConnector, ModelState, apply_transforms};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const LAYERS: usize = 4;
const HIDDEN: usize = 2048;
const FFN: usize = 5632;
const HEADS: usize = 32;
const GROUPS: usize = 4;
const VOCABULARY: usize = 8000;

/// Tokens of a prompt, and those that follow on a shorter one.
const PROMPT: usize = 512;
const START: usize = 128;
const NEXT: usize = 48;
const ROUNDS: usize = 7;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    // `cargo test` runs benches too; there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let device = Device::Cpu;
    let weights = weights(&device)?;
    let (ours, theirs) = (ours(&weights)?, Theirs::new(weights, &device)?);
    let prompt: Vec<u32> = (0..PROMPT).map(|i| ((i * 7919 + 13) % VOCABULARY) as u32).collect();
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..=ROUNDS {
        let start = prompt_of_ours(&ours, &prompt)?;
        let other = theirs.prompt(&prompt, &device)?;
        let (tokens, next) = next_of_ours(&ours, &prompt[..START])?;
        let (same, other_next) = theirs.next(&prompt[..START], &device)?;
        assert_eq!(tokens, same, "both choose the same tokens");
        // The first round warms up.
        if round > 0 {
            for (all, time) in times.iter_mut().zip([start, other, next, other_next]) {
                all.push(time);
            }
        }
    }
    let [a, b, c, d] = times.map(|mut all| {
        all.sort();
        all[all.len() / 2]
    });
    println!("{:<28} {:>12} {:>20} {:>7}", "tokens/s", "connector", "candle-transformers", "ratio");
    for (what, count, ours, theirs) in [
        (format!("prompt of {PROMPT}"), PROMPT, a, b),
        (format!("{NEXT} after a prompt of {START}"), NEXT, c, d),
    ] {
        let [ours, theirs] = [ours, theirs].map(|time| count as f64 / time.as_secs_f64());
        println!("{what:<28} {ours:>12.1} {theirs:>20.1} {:>7.2}", ours / theirs);
    }
    Ok(())
}

/// The tensors of a Hugging Face checkpoint.
fn weights(device: &Device) -> Result<HashMap<String, Tensor>, Error> {
    let group = HIDDEN / HEADS * GROUPS;
    let mut shapes = vec![
        ("model.embed_tokens".to_string(), vec![VOCABULARY, HIDDEN]),
        ("lm_head".into(), vec![VOCABULARY, HIDDEN]),
        ("model.norm".into(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let linear = [
            ("self_attn.q_proj", HIDDEN, HIDDEN),
            ("self_attn.k_proj", group, HIDDEN),
            ("self_attn.v_proj", group, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", FFN, HIDDEN),
            ("mlp.up_proj", FFN, HIDDEN),
            ("mlp.down_proj", HIDDEN, FFN),
        ];
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        shapes.extend(linear.map(|(part, rows, columns)| (name(part), vec![rows, columns])));
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            shapes.push((name(norm), vec![HIDDEN]));
        }
    }
    let tensor = |(name, shape): (String, Vec<usize>)| -> Result<(String, Tensor), Error> {
        let values = match shape.len() {
            1 => Tensor::ones(shape, DType::F32, device)?,
            _ => Tensor::randn(0f32, 0.02, shape, device)?,
        };
        Ok((format!("{name}.weight"), values))
    };
    shapes.into_iter().map(tensor).collect()
}

fn ours(weights: &HashMap<String, Tensor>) -> Result<GPTModel, Error> {
    let config: GptConfig = serde_json::from_value(json!({
        "num_layers": LAYERS, "hidden_size": HIDDEN, "ffn_hidden_size": FFN,
        "num_attention_heads": HEADS, "num_query_groups": GROUPS, "kv_channels": HIDDEN / HEADS,
        "seq_length": 2048, "vocab_size": VOCABULARY, "make_vocab_size_divisible_by": 1,
        "share_embeddings_and_output_weights": false, "attention_bias": false, "mlp_bias": false,
        "layernorm_epsilon": 1e-5, "normalization": "RMSNorm", "activation_func": "silu",
        "gated_linear_unit": true, "position_embedding_type": "rope", "rotary_base": 10000.0,
        "init_method_std": 0.02,
    }))?;
    let source = ModelState::new(Value::Null, weights.clone());
    let target = ModelState::of::<LlamaModel>(&config)?;
    let converted = apply_transforms(&source, &target, &HfLlama::MAPPING, &[])?;
    let instance = LlamaModel::instance(&config).ok_or("Llama declares its parameters")?;
    let parameters = Parameters::new(&*instance, converted.into_tensors(), DType::F32)?;
    Ok(GPTModel::new(&config, &parameters)?)
}

fn prompt_of_ours(model: &GPTModel, prompt: &[u32]) -> Result<Duration, Error> {
    let tokens = Tensor::new(prompt, model.device())?.unsqueeze(0)?;
    let start = Instant::now();
    let hidden = model.hidden(&tokens, Some(&mut model.cache()))?;
    let logits = model.logits(&hidden.narrow(1, prompt.len() - 1, 1)?)?;
    logits.flatten_all()?.to_vec1::<f32>()?;
    Ok(start.elapsed())
}

/// The tokens that follow, and the time that they take after the prompt.
fn next_of_ours(model: &GPTModel, prompt: &[u32]) -> Result<(Vec<u32>, Duration), Error> {
    let mut options = GenerateOptions::default();
    options.max_tokens = NEXT + 1;
    let mut generation = model.generate(prompt, options)?;
    let first = generation.next().ok_or("a first token")??;
    let start = Instant::now();
    let rest = generation.collect::<Result<Vec<u32>, _>>()?;
    Ok(([vec![first], rest].concat(), start.elapsed()))
}

struct Theirs {
    model: Llama,
    config: candle_transformers::models::llama::Config,
}

impl Theirs {
    fn new(weights: HashMap<String, Tensor>, device: &Device) -> Result<Self, Error> {
        let config: LlamaConfig = serde_json::from_value(json!({
            "hidden_size": HIDDEN, "intermediate_size": FFN, "vocab_size": VOCABULARY,
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "num_key_value_heads": GROUPS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "max_position_embeddings": 2048,
        }))?;
        let config = config.into_config(false);
        let weights = VarBuilder::from_tensors(weights, DType::F32, device);
        Ok(Theirs { model: Llama::load(weights, &config)?, config })
    }

    fn cache(&self, device: &Device) -> Result<Cache, Error> {
        Ok(Cache::new(true, DType::F32, &self.config, device)?)
    }

    fn prompt(&self, prompt: &[u32], device: &Device) -> Result<Duration, Error> {
        let (tokens, mut cache) = (Tensor::new(prompt, device)?.unsqueeze(0)?, self.cache(device)?);
        let start = Instant::now();
        self.model.forward(&tokens, 0, &mut cache)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(start.elapsed())
    }

    fn next(&self, prompt: &[u32], device: &Device) -> Result<(Vec<u32>, Duration), Error> {
        let mut cache = self.cache(device)?;
        let mut step = |tokens: &[u32], position| -> Result<u32, Error> {
            let tokens = Tensor::new(tokens, device)?.unsqueeze(0)?;
            let logits = self.model.forward(&tokens, position, &mut cache)?;
            let logits = logits.flatten_all()?.to_vec1::<f32>()?;
            let best = (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            Ok(best.unwrap_or_default() as u32)
        };
        let mut tokens = vec![step(prompt, 0)?];
        let start = Instant::now();
        for next in 0..NEXT {
            tokens.push(step(&[tokens[next]], prompt.len() + next)?);
        }
        Ok((tokens, start.elapsed()))
    }
}

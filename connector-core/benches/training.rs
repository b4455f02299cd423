//! The time of a training step, by its parts, beside that of its matrix products alone:
//!
//!     cargo bench -p connector-core --bench training
//!
//! A Llama of four layers, 512 wide, with 8 heads in 4 groups, an MLP of 1536 and 8192 tokens, in
//! f32, with random weights; 4 rows of 256 tokens, all of which are learnt. Full, and an adapter of
//! rank 16 on all projections, in turns. Reports medians.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use candle_core::{DType, Device, Tensor};
use connector_core::train::{CosineAnnealing, FineTuningData, Lora, StepRecord, Trainer, finetune};
use connector_core::{AutoModel, AutoResume, ImportOptions, import_ckpt};
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

const LAYERS: usize = 4;
const HIDDEN: usize = 512;
const HEADS: usize = 8;
const GROUPS: usize = 4;
const HEAD: usize = HIDDEN / HEADS;
const FFN: usize = 1536;
const VOCABULARY: usize = 8192;
const ROWS: usize = 4;
const TOKENS: usize = 256;
const STEPS: u64 = 7;
const ROUNDS: usize = 3;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    // `cargo test` runs benches too; there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (hf, base) = (dir.path().join("hf"), dir.path().join("base"));
    write_model(&hf)?;
    import_ckpt(&hf, &base, ImportOptions::default())?;
    let text = "we mend the nets and the boats at the lake, and in the night we ride home. ";
    let path = dir.path().join("text.txt");
    fs::write(&path, text.repeat(2000))?;
    let data = FineTuningData { seq_length: TOKENS, ..FineTuningData::new(path) };

    let forward = products(true)?;
    let products = forward + products(false)?;
    println!(
        "matrix products alone: forward {:.0} ms, both {:.0} ms",
        forward * 1e3,
        products * 1e3
    );
    let lora = Lora { dim: 16, alpha: 16.0, ..Lora::default() };
    let (mut full, mut adapted) = (Vec::new(), Vec::new());
    // In turns, so that what else the machine does meets both.
    for round in 0..ROUNDS {
        let runs = [("full", None, &mut full), ("lora", Some(lora.clone()), &mut adapted)];
        for (name, peft, records) in runs {
            let trainer = Trainer {
                max_steps: STEPS,
                micro_batch_size: ROWS,
                peft,
                lr_scheduler: CosineAnnealing { warmup_steps: 1, ..Default::default() },
                every_n_train_steps: STEPS,
                ..Trainer::new(dir.path().join(format!("{name}-{round}")))
            };
            let resume = AutoResume { resume_from_path: Some(base.clone()), ..Default::default() };
            let tuned = finetune::<AutoModel>(&data, &trainer, &resume)?;
            // The first step warms up.
            records.extend_from_slice(&tuned.records[1..]);
        }
    }
    for (name, records) in [("full", full), ("lora", adapted)] {
        let median = |part: fn(&StepRecord) -> f64| {
            let mut all: Vec<f64> = records.iter().map(part).collect();
            all.sort_by(f64::total_cmp);
            (all[all.len() / 2], all[0])
        };
        let (step, least) = median(|record| record.seconds);
        println!(
            "{name}: step {:.0} ms (least {:.0}) = forward {:.0} + backward {:.0} + optimizer \
             {:.0}; {:.0} tokens/s; {:.2} times the products of full training",
            step * 1e3,
            least * 1e3,
            median(|record| record.forward_seconds).0 * 1e3,
            median(|record| record.backward_seconds).0 * 1e3,
            median(|record| record.optimizer_seconds).0 * 1e3,
            (ROWS * TOKENS) as f64 / step,
            step / products
        );
    }
    Ok(())
}

/// The time of all matrix products of a forward pass of full training, or of a backward pass: for
/// each product two, one for the gradient of each factor.
fn products(forward: bool) -> Result<f64, Error> {
    let rows = ROWS * TOKENS;
    // (batch, m, k, n), how often.
    let attention = ROWS * GROUPS;
    let queries = HEADS / GROUPS * TOKENS;
    let shapes = [
        (1, rows, HIDDEN, (HEADS + 2 * GROUPS) * HEAD, LAYERS),
        (attention, queries, HEAD, TOKENS, LAYERS),
        (attention, queries, TOKENS, HEAD, LAYERS),
        (1, rows, HIDDEN, HIDDEN, LAYERS),
        (1, rows, HIDDEN, 2 * FFN, LAYERS),
        (1, rows, FFN, HIDDEN, LAYERS),
        (1, rows, HIDDEN, VOCABULARY, 1),
    ];
    let mut sum = 0.0;
    for (batch, m, k, n, count) in shapes {
        let made = if forward { vec![(m, k, n)] } else { vec![(m, n, k), (k, m, n)] };
        for (m, k, n) in made {
            let random = |a, b| Tensor::randn(0f32, 1.0, (batch, a, b), &Device::Cpu);
            let (a, b) = (random(m, k)?, random(k, n)?);
            let mut best = f64::INFINITY;
            for _ in 0..4 {
                let start = Instant::now();
                a.matmul(&b)?;
                best = best.min(start.elapsed().as_secs_f64());
            }
            sum += best * count as f64;
        }
    }
    Ok(sum)
}

/// A Hugging Face directory with random weights and the tokenizer of a fixture.
fn write_model(dir: &Path) -> Result<(), Error> {
    fs::create_dir(dir)?;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/llama/hf");
    for name in ["tokenizer.json", "generation_config.json"] {
        fs::copy(fixture.join(name), dir.join(name))?;
    }
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "vocab_size": VOCABULARY,
        "max_position_embeddings": TOKENS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "torch_dtype": "float32",
    });
    fs::write(dir.join("config.json"), config.to_string())?;
    let mut tensors = HashMap::new();
    let mut matrix = |name: String, rows, columns| -> Result<(), Error> {
        tensors.insert(name, Tensor::randn(0f32, 0.02, (rows, columns), &Device::Cpu)?);
        Ok(())
    };
    matrix("model.embed_tokens.weight".into(), VOCABULARY, HIDDEN)?;
    matrix("lm_head.weight".into(), VOCABULARY, HIDDEN)?;
    for layer in 0..LAYERS {
        for (name, rows, columns) in [
            ("self_attn.q_proj", HEADS * HEAD, HIDDEN),
            ("self_attn.k_proj", GROUPS * HEAD, HIDDEN),
            ("self_attn.v_proj", GROUPS * HEAD, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HEADS * HEAD),
            ("mlp.gate_proj", FFN, HIDDEN),
            ("mlp.up_proj", FFN, HIDDEN),
            ("mlp.down_proj", HIDDEN, FFN),
        ] {
            matrix(format!("model.layers.{layer}.{name}.weight"), rows, columns)?;
        }
    }
    let norms = (0..LAYERS).flat_map(|layer| {
        ["input", "post_attention"]
            .map(|name| format!("model.layers.{layer}.{name}_layernorm.weight"))
    });
    for name in norms.chain(["model.norm.weight".to_string()]) {
        tensors.insert(name, Tensor::ones(HIDDEN, DType::F32, &Device::Cpu)?);
    }
    Ok(candle_core::safetensors::save(&tensors, dir.join("model.safetensors"))?)
}

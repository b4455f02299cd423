//! The same models once more, in plain loops over f64, from the tensors of the Hugging Face
//! checkpoint: no fused projections, no groups, no cache, one token of one head at a time.

use connector_tests::Model;
use serde_json::Value;
use std::collections::HashMap;
use std::f64::consts::PI;

pub struct Naive {
    config: Value,
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
}

/// Makes the noise of a model small numbers that differ, such as weights are.
pub fn tame(model: &mut Model) {
    for tensor in &mut model.tensors {
        assert_eq!(tensor.dtype, "F32");
        let offset = if tensor.name.contains("norm") { 1.0 } else { 0.0 };
        for bytes in tensor.bytes.chunks_exact_mut(4) {
            let noise = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let value = offset + noise as f32 / u32::MAX as f32 - 0.5;
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
}

impl Naive {
    pub fn new(model: &Model) -> Self {
        let tensors = model.tensors.iter().map(|tensor| {
            let bytes = tensor.bytes.chunks_exact(4);
            let values = bytes.map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            (tensor.name.clone(), (tensor.shape.clone(), values.collect()))
        });
        Naive { config: model.config.clone(), tensors: tensors.collect() }
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.config.get(name).and_then(Value::as_f64)
    }

    fn size(&self, name: &str) -> usize {
        self.number(name).unwrap_or_else(|| panic!("{name} is missing")) as usize
    }

    fn is_gemma(&self) -> bool {
        self.config["model_type"] == "gemma"
    }

    /// The logits of each token.
    pub fn logits(&self, tokens: &[usize]) -> Vec<Vec<f64>> {
        let embedding = |token: usize| {
            let (shape, values) = &self.tensors["model.embed_tokens.weight"];
            let row = &values[token * shape[1]..][..shape[1]];
            let scale = if self.is_gemma() { (shape[1] as f64).sqrt() } else { 1.0 };
            row.iter().map(|x| x * scale).collect()
        };
        let mut x: Vec<Vec<f64>> = tokens.iter().map(|&token| embedding(token)).collect();
        for layer in 0..self.size("num_hidden_layers") {
            let prefix = format!("model.layers.{layer}");
            let normed = x.iter().map(|x| self.norm(&format!("{prefix}.input_layernorm"), x));
            let attended = self.attention(&prefix, &normed.collect::<Vec<_>>());
            for (x, more) in x.iter_mut().zip(attended) {
                add(x, &more);
                let normed = self.norm(&format!("{prefix}.post_attention_layernorm"), x);
                let more = match self.number("num_local_experts") {
                    Some(experts) => self.experts(&prefix, experts as usize, &normed),
                    None => {
                        let names = ["gate_proj", "up_proj", "down_proj"];
                        self.mlp(names.map(|name| format!("{prefix}.mlp.{name}")), &normed)
                    }
                };
                add(x, &more);
            }
        }
        let head = match self.tensors.contains_key("lm_head.weight") {
            true => "lm_head",
            false => "model.embed_tokens",
        };
        x.iter().map(|x| self.linear(head, &self.norm("model.norm", x))).collect()
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (shape, values) = &self.tensors[&format!("{name}.weight")];
        assert_eq!(shape[1], x.len(), "{name}");
        let mut y: Vec<f64> = values.chunks_exact(shape[1]).map(|row| dot(row, x)).collect();
        if let Some((_, bias)) = self.tensors.get(&format!("{name}.bias")) {
            add(&mut y, bias);
        }
        y
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = &self.tensors[&format!("{name}.weight")].1;
        let offset = if self.is_gemma() { 1.0 } else { 0.0 };
        let root = (dot(x, x) / x.len() as f64 + self.number("rms_norm_eps").unwrap()).sqrt();
        x.iter().zip(weight).map(|(x, weight)| x / root * (weight + offset)).collect()
    }

    fn attention(&self, prefix: &str, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let heads = self.size("num_attention_heads");
        let groups = self.number("num_key_value_heads").map_or(heads, |n| n as usize);
        let size = self.number("head_dim").map_or(self.size("hidden_size") / heads, |n| n as usize);
        let window = self.number("sliding_window").map_or(usize::MAX, |n| n as usize);
        let project = |name: &str| -> Vec<Vec<f64>> {
            x.iter().map(|x| self.linear(&format!("{prefix}.self_attn.{name}"), x)).collect()
        };
        let [queries, keys, values] = ["q_proj", "k_proj", "v_proj"].map(project);
        let cut =
            |all: &[Vec<f64>], at: usize, head: usize| all[at][head * size..][..size].to_vec();
        let turned = |all: &[Vec<f64>], head: usize| -> Vec<Vec<f64>> {
            (0..x.len()).map(|at| self.turn(&cut(all, at, head), at)).collect()
        };
        let keys: Vec<_> = (0..groups).map(|group| turned(&keys, group)).collect();
        let queries: Vec<_> = (0..heads).map(|head| turned(&queries, head)).collect();
        let mut all = Vec::new();
        for at in 0..x.len() {
            let mut row = Vec::new();
            for (head, queries) in queries.iter().enumerate() {
                let group = head / (heads / groups);
                let first = (at + 1).saturating_sub(window);
                let score =
                    |key: usize| dot(&queries[at], &keys[group][key]) / (size as f64).sqrt();
                let shares = softmax(&(first..=at).map(score).collect::<Vec<_>>());
                let mut sum = vec![0.0; size];
                for (key, share) in (first..=at).zip(shares) {
                    let value = cut(&values, key, group);
                    add(&mut sum, &value.iter().map(|v| v * share).collect::<Vec<_>>());
                }
                row.extend(sum);
            }
            all.push(self.linear(&format!("{prefix}.self_attn.o_proj"), &row));
        }
        all
    }

    /// The rotary embedding of one head at one position.
    fn turn(&self, x: &[f64], position: usize) -> Vec<f64> {
        let half = x.len() / 2;
        let mut y = x.to_vec();
        for i in 0..half {
            let base = self.number("rope_theta").unwrap();
            let angle = position as f64 * self.scaled(base.powf(-2.0 * i as f64 / x.len() as f64));
            y[i] = x[i] * angle.cos() - x[i + half] * angle.sin();
            y[i + half] = x[i + half] * angle.cos() + x[i] * angle.sin();
        }
        y
    }

    fn scaled(&self, frequency: f64) -> f64 {
        let Some(scaling) = self.config.get("rope_scaling").filter(|s| s.is_object()) else {
            return frequency;
        };
        let field = |name: &str| scaling[name].as_f64().unwrap();
        if scaling["rope_type"] == "linear" {
            return frequency / field("factor");
        }
        let turns = field("original_max_position_embeddings") / (2.0 * PI / frequency);
        let (low, high) = (field("low_freq_factor"), field("high_freq_factor"));
        // How much of the frequency is kept.
        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        frequency * (kept + (1.0 - kept) / field("factor"))
    }

    fn mlp(&self, [gate, up, down]: [String; 3], x: &[f64]) -> Vec<f64> {
        let (gate, up) = (self.linear(&gate, x), self.linear(&up, x));
        let gelu =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
        let silu = |x: f64| x / (1.0 + (-x).exp());
        let act = |x: f64| if self.is_gemma() { gelu(x) } else { silu(x) };
        let inner: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| act(*g) * u).collect();
        self.linear(&down, &inner)
    }

    /// As Mixtral was published: softmax over all experts, the best ones, scaled to a sum of 1.
    fn experts(&self, prefix: &str, count: usize, x: &[f64]) -> Vec<f64> {
        let moe = format!("{prefix}.block_sparse_moe");
        let shares = softmax(&self.linear(&format!("{moe}.gate"), x));
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        order.truncate(self.size("num_experts_per_tok"));
        let whole: f64 = order.iter().map(|expert| shares[*expert]).sum();
        let mut sum = vec![0.0; x.len()];
        for expert in order {
            let names = ["w1", "w3", "w2"].map(|name| format!("{moe}.experts.{expert}.{name}"));
            let share = shares[expert] / whole;
            let y = self.mlp(names, x);
            add(&mut sum, &y.iter().map(|y| y * share).collect::<Vec<_>>());
        }
        sum
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], more: &[f64]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let exp: Vec<f64> = x.iter().map(|x| x.exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|exp| exp / sum).collect()
}

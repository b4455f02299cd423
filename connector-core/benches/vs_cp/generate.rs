//! Checkpoints of known shapes, filled with numbers or sparse.

use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A tensor: its name, type and shape.
type Tensor = (String, &'static str, Vec<usize>);

/// A checkpoint to be written.
pub struct HfCheckpoint {
    config: Value,
    tensors: Vec<Tensor>,
    shards: usize,
    /// Whether the files have numbers in them; else they are sparse, which is enough for plans and
    /// for memory.
    filled: bool,
}

fn element(dtype: &str) -> usize {
    match dtype {
        "F8_E4M3" => 1,
        "F32" => 4,
        _ => 2,
    }
}

/// The shape of a Llama.
#[derive(Clone, Copy)]
pub struct Llama {
    pub hidden: usize,
    pub inner: usize,
    pub heads: usize,
    pub groups: usize,
    pub layers: usize,
}

/// TinyLlama 1.1B: 2.2 GB in bf16.
pub const TINY_LLAMA: Llama = Llama { hidden: 2048, inner: 5632, heads: 32, groups: 4, layers: 22 };

/// A Llama of Mistral 7B's width, 436 MB a layer in bf16, with as many layers as make up the size.
pub fn wide_llama(bytes: u64, dtype: &str) -> Llama {
    let shape = Llama { hidden: 4096, inner: 14336, heads: 32, groups: 8, layers: 0 };
    let size = |layers| tensor_bytes(&llama_tensors(Llama { layers, ..shape }, dtype_of(dtype)));
    let layers = (bytes.saturating_sub(size(0))) / (size(1) - size(0));
    Llama { layers: layers.max(1) as usize, ..shape }
}

fn dtype_of(name: &str) -> &'static str {
    if name == "F32" { "F32" } else { "BF16" }
}

fn tensor_bytes(tensors: &[Tensor]) -> u64 {
    let bytes = |(_, dtype, shape): &Tensor| shape.iter().product::<usize>() * element(dtype);
    tensors.iter().map(|tensor| bytes(tensor) as u64).sum()
}

fn llama_tensors(shape: Llama, dtype: &'static str) -> Vec<Tensor> {
    let Llama { hidden, inner, heads, groups, layers } = shape;
    let kv = hidden / heads * groups;
    let mut tensors = vec![("model.embed_tokens.weight".into(), dtype, vec![32000, hidden])];
    for layer in 0..layers {
        for (name, shape) in [
            ("input_layernorm", vec![hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("self_attn.k_proj", vec![kv, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.v_proj", vec![kv, hidden]),
        ] {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), dtype, shape));
        }
    }
    tensors.push(("model.norm.weight".into(), dtype, vec![hidden]));
    tensors.push(("lm_head.weight".into(), dtype, vec![32000, hidden]));
    tensors
}

fn llama_config(shape: Llama) -> Value {
    let Llama { hidden, inner, heads, groups, layers } = shape;
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": inner, "num_attention_heads": heads, "num_key_value_heads": groups,
        "num_hidden_layers": layers, "vocab_size": 32000, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 4096, "tie_word_embeddings": false
    })
}

impl HfCheckpoint {
    pub fn llama(shape: Llama, dtype: &str, shards: usize, filled: bool) -> Self {
        let tensors = llama_tensors(shape, dtype_of(dtype));
        HfCheckpoint { config: llama_config(shape), tensors, shards, filled }
    }

    /// A mixture of 104 layers with 64 experts each: 19,968 matrices of 102,400 bytes, and what
    /// goes around them.
    pub fn mixtral() -> Self {
        let (layers, experts, hidden, inner) = (104, 64, 512, 100);
        let mut tensors: Vec<Tensor> =
            vec![("model.embed_tokens.weight".into(), "BF16", vec![1000, hidden])];
        for layer in 0..layers {
            let at = format!("model.layers.{layer}");
            let mut add =
                |name: &str, shape| tensors.push((format!("{at}.{name}.weight"), "BF16", shape));
            add("input_layernorm", vec![hidden]);
            add("post_attention_layernorm", vec![hidden]);
            add("block_sparse_moe.gate", vec![experts, hidden]);
            for expert in 0..experts {
                for (name, shape) in
                    [("w1", [inner, hidden]), ("w2", [hidden, inner]), ("w3", [inner, hidden])]
                {
                    add(&format!("block_sparse_moe.experts.{expert}.{name}"), shape.into());
                }
            }
            for (name, rows) in [("q", hidden), ("k", hidden / 4), ("v", hidden / 4), ("o", hidden)]
            {
                add(&format!("self_attn.{name}_proj"), vec![rows, hidden]);
            }
        }
        tensors.push(("model.norm.weight".into(), "BF16", vec![hidden]));
        tensors.push(("lm_head.weight".into(), "BF16", vec![1000, hidden]));
        let config = json!({
            "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": hidden,
            "intermediate_size": inner, "num_attention_heads": 8, "num_key_value_heads": 2,
            "num_hidden_layers": layers, "vocab_size": 1000, "rms_norm_eps": 1e-5,
            "rope_theta": 1e6, "max_position_embeddings": 4096, "tie_word_embeddings": false,
            "num_local_experts": experts, "num_experts_per_tok": 2, "sliding_window": null,
            "router_aux_loss_coef": 0.02, "hidden_act": "silu", "attention_dropout": 0.0
        });
        HfCheckpoint { config, tensors, shards: 5, filled: true }
    }

    /// The experts of DeepSeek-V3 with their scales: 93,696 tensors, 656 GB, sparse.
    pub fn deepseek() -> Self {
        let (layers, experts) = (61, 256);
        let mut tensors = Vec::new();
        for layer in 0..layers {
            for expert in 0..experts {
                for (name, [rows, columns]) in [
                    ("down_proj", [7168, 2048]),
                    ("gate_proj", [2048, 7168]),
                    ("up_proj", [2048, 7168]),
                ] {
                    let key = format!("model.layers.{layer}.mlp.experts.{expert}.{name}.weight");
                    let scales = vec![rows / 128, columns / 128];
                    tensors.push((format!("{key}_scale_inv"), "F32", scales));
                    tensors.push((key, "F8_E4M3", vec![rows, columns]));
                }
            }
        }
        let config = json!({
            "architectures": ["BenchDeepSeek"], "num_hidden_layers": layers,
            "n_routed_experts": experts, "hidden_size": 7168, "moe_intermediate_size": 2048
        });
        HfCheckpoint { config, tensors, shards: 163, filled: false }
    }

    /// Writes it into the new directory `dir`.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let each = tensor_bytes(&self.tensors).div_ceil(self.shards as u64);
        let (mut map, mut start) = (Map::new(), 0);
        for shard in 0..self.shards {
            let name = format!("model-{:05}-of-{:05}.safetensors", shard + 1, self.shards);
            let mut end = start;
            let mut bytes = 0;
            while end < self.tensors.len() && (bytes < each || shard + 1 == self.shards) {
                bytes += tensor_bytes(&self.tensors[end..=end]);
                end += 1;
            }
            let tensors = &self.tensors[start..end];
            write_shard(&dir.join(&name), tensors, self.filled)?;
            map.extend(tensors.iter().map(|(key, ..)| (key.clone(), name.clone().into())));
            start = end;
        }
        let index =
            json!({"metadata": {"total_size": tensor_bytes(&self.tensors)}, "weight_map": map});
        fs::write(dir.join("model.safetensors.index.json"), index.to_string())?;
        fs::write(dir.join("config.json"), format!("{:#}", self.config))
    }
}

fn write_shard(path: &Path, tensors: &[Tensor], filled: bool) -> io::Result<()> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut at = 0;
    for tensor in tensors {
        let (name, dtype, shape) = tensor;
        let end = at + tensor_bytes(std::slice::from_ref(tensor));
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
        header.insert(name.clone(), entry);
        at = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let file = File::create_new(path)?;
    let length = 8 + header.len() as u64 + at;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    if filled {
        let numbers = Numbers { state: length | 1 };
        let is_f32 = tensors.first().is_some_and(|(_, dtype, _)| *dtype == "F32");
        for block in numbers.words(is_f32).take((at / 8) as usize) {
            out.write_all(&block.to_le_bytes())?;
        }
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.set_len(length)
}

/// Pseudo-random numbers that no file system and no disk can compress, as weights are.
struct Numbers {
    state: u64,
}

impl Numbers {
    /// Eight bytes of `f32` or `bf16` between 1/32 and 1/8, of either sign.
    fn words(mut self, is_f32: bool) -> impl Iterator<Item = u64> {
        let (keep, exponent) = match is_f32 {
            true => (0x80ff_ffff_80ff_ffff, 0x3d00_0000_3d00_0000),
            false => (0x80ff_80ff_80ff_80ff, 0x3d00_3d00_3d00_3d00),
        };
        std::iter::repeat_with(move || {
            // xorshift64
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.state & keep | exponent
        })
    }
}

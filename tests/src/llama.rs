use crate::{Model, Tensor, fixture};
use serde_json::Value;
use std::fs;

/// The config of the fixture `llama` with some fields changed; null removes one.
pub fn config(changes: Value) -> Value {
    let text = fs::read(fixture("llama/hf/config.json")).expect("the fixture");
    let mut config: Value = serde_json::from_slice(&text).expect("its config");
    let fields = config.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object of changes") {
        match value {
            Value::Null => drop(fields.shift_remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    config
}

/// A Llama of noise with every tensor that transformers saves under this config.
pub fn llama(config: Value) -> Model {
    let size = |name: &str| config.get(name).and_then(Value::as_u64).map(|n| n as usize);
    let must = |name: &str| size(name).unwrap_or_else(|| panic!("{name} is missing"));
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (hidden, ffn, heads) =
        (must("hidden_size"), must("intermediate_size"), must("num_attention_heads"));
    let groups = size("num_key_value_heads").unwrap_or(heads);
    let head = size("head_dim").unwrap_or(hidden / heads);

    let mut tensors =
        vec![Tensor::noise("model.embed_tokens.weight", &[must("vocab_size"), hidden])];
    for layer in 0..must("num_hidden_layers") {
        let mut linear = |name: &str, rows: usize, columns: usize, bias: bool| {
            let name = format!("model.layers.{layer}.{name}");
            tensors.push(Tensor::noise(&format!("{name}.weight"), &[rows, columns]));
            if bias {
                tensors.push(Tensor::noise(&format!("{name}.bias"), &[rows]));
            }
        };
        let (attention, mlp) = (flag("attention_bias"), flag("mlp_bias"));
        linear("self_attn.q_proj", heads * head, hidden, attention);
        linear("self_attn.k_proj", groups * head, hidden, attention);
        linear("self_attn.v_proj", groups * head, hidden, attention);
        linear("self_attn.o_proj", hidden, heads * head, attention);
        linear("mlp.gate_proj", ffn, hidden, mlp);
        linear("mlp.up_proj", ffn, hidden, mlp);
        linear("mlp.down_proj", hidden, ffn, mlp);
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.push(Tensor::noise(&format!("model.layers.{layer}.{norm}.weight"), &[hidden]));
        }
    }
    tensors.push(Tensor::noise("model.norm.weight", &[hidden]));
    if !flag("tie_word_embeddings") {
        tensors.push(Tensor::noise("lm_head.weight", &[must("vocab_size"), hidden]));
    }
    Model { config, tensors, files: Default::default() }
}

/// Rows of q, k and v by query group, as Megatron-core stores `linear_qkv`: for each group its q
/// heads, its k head, its v head. Written down a second time here, on bytes.
pub fn interleave_qkv(q: &[u8], k: &[u8], v: &[u8], groups: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for group in 0..groups {
        for part in [q, k, v] {
            let size = part.len() / groups;
            all.extend_from_slice(&part[group * size..][..size]);
        }
    }
    all
}

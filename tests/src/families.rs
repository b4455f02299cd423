use crate::{Model, Tensor, fixture};
use serde_json::Value;
use std::fs;

/// The config of the fixture `llama` with some fields changed; null removes one.
pub fn config(changes: Value) -> Value {
    config_of("llama", changes)
}

/// The config of a fixture with some fields changed; null removes one.
pub fn config_of(fixture_name: &str, changes: Value) -> Value {
    let text = fs::read(fixture(&format!("{fixture_name}/hf/config.json"))).expect("the fixture");
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

/// A dense model of noise with every tensor that transformers saves under this config: a Llama, a
/// Mistral, a Gemma.
pub fn llama(config: Value) -> Model {
    decoder(config, |name, ffn, hidden, bias| {
        let linear = |part: &str, rows: usize, columns: usize| {
            let name = format!("{name}.mlp.{part}");
            let bias = bias.then(|| Tensor::noise(&format!("{name}.bias"), &[rows]));
            [Some(Tensor::noise(&format!("{name}.weight"), &[rows, columns])), bias]
        };
        let all = [
            linear("gate_proj", ffn, hidden),
            linear("up_proj", ffn, hidden),
            linear("down_proj", hidden, ffn),
        ];
        all.into_iter().flatten().flatten().collect()
    })
}

/// A Mixtral of noise with every tensor that is on the hub under this config.
pub fn mixtral(config: Value) -> Model {
    let experts = config["num_local_experts"].as_u64().expect("num_local_experts") as usize;
    decoder(config, |name, ffn, hidden, _| {
        let moe = format!("{name}.block_sparse_moe");
        let mut all = vec![Tensor::noise(&format!("{moe}.gate.weight"), &[experts, hidden])];
        for e in 0..experts {
            for (part, shape) in
                [("w1", [ffn, hidden]), ("w2", [hidden, ffn]), ("w3", [ffn, hidden])]
            {
                all.push(Tensor::noise(&format!("{moe}.experts.{e}.{part}.weight"), &shape));
            }
        }
        all
    })
}

/// A decoder, whose layers' MLPs `mlp` makes: from the layer's name, the inner width, the width of
/// the model, and whether there are biases.
fn decoder(config: Value, mlp: impl Fn(&str, usize, usize, bool) -> Vec<Tensor>) -> Model {
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
        let bias = flag("attention_bias");
        linear("self_attn.q_proj", heads * head, hidden, bias);
        linear("self_attn.k_proj", groups * head, hidden, bias);
        linear("self_attn.v_proj", groups * head, hidden, bias);
        linear("self_attn.o_proj", hidden, heads * head, bias);
        tensors.extend(mlp(&format!("model.layers.{layer}"), ffn, hidden, flag("mlp_bias")));
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

//! A family in a crate outside of connector does what a shipped one does. Its checkpoint is the
//! fixture of Llama under InternLM2's names, so that transformers' logits of that are its own.

#[path = "../internlm2/model.rs"]
mod model;

use candle_core::{Device, Tensor, safetensors};
use connector_core::connector::Registry;
use connector_core::testing::prove_config;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn llama() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/llama")
}

/// Heads of queries and groups of the fixture, and the size of a head.
const HEADS: usize = 6;
const GROUPS: usize = 2;
const SIZE: usize = 8;

/// q, k and v of each group under each other.
fn wqkv(layer: &str, all: &HashMap<String, Tensor>) -> Tensor {
    let queries = HEADS / GROUPS * SIZE;
    let rows = |name: &str, group: usize, len: usize| {
        all[&format!("{layer}.self_attn.{name}_proj.weight")].narrow(0, group * len, len).unwrap()
    };
    let groups = (0..GROUPS).flat_map(|group| {
        [rows("q", group, queries), rows("k", group, SIZE), rows("v", group, SIZE)]
    });
    Tensor::cat(&groups.collect::<Vec<_>>(), 0).unwrap()
}

/// The checkpoint as InternLM's own tools write it.
fn write(dir: &Path) {
    let all = safetensors::load(llama().join("hf/model.safetensors"), &Device::Cpu).unwrap();
    let ends = [
        ("model.tok_embeddings", "model.embed_tokens"),
        ("model.norm", "model.norm"),
        ("output", "lm_head"),
    ];
    let layer = [
        ("attention.wo", "self_attn.o_proj"),
        ("attention_norm", "input_layernorm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("feed_forward.w1", "mlp.gate_proj"),
        ("feed_forward.w3", "mlp.up_proj"),
        ("feed_forward.w2", "mlp.down_proj"),
    ];
    let mut made: HashMap<String, Tensor> = HashMap::new();
    let mut put = |ours: String, theirs: String| {
        made.insert(format!("{ours}.weight"), all[&format!("{theirs}.weight")].clone());
    };
    ends.iter().for_each(|(ours, theirs)| put(ours.to_string(), theirs.to_string()));
    for number in 0..2 {
        let prefix = format!("model.layers.{number}");
        layer.iter().for_each(|(ours, theirs)| {
            put(format!("{prefix}.{ours}"), format!("{prefix}.{theirs}"));
        });
    }
    for number in 0..2 {
        let prefix = format!("model.layers.{number}");
        made.insert(format!("{prefix}.attention.wqkv.weight"), wqkv(&prefix, &all));
    }
    fs::create_dir(dir).unwrap();
    safetensors::save(&made, dir.join("model.safetensors")).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        fs::copy(llama().join("hf").join(file), dir.join(file)).unwrap();
    }
    let config = serde_json::json!({
        "architectures": ["InternLM2ForCausalLM"],
        "auto_map": { "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM" },
        "model_type": "internlm2", "bias": false, "hidden_act": "silu", "hidden_size": 48,
        "initializer_range": 0.02, "intermediate_size": 80, "max_position_embeddings": 256,
        "num_attention_heads": HEADS, "num_hidden_layers": 2, "num_key_value_heads": GROUPS,
        "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "torch_dtype": "float32", "transformers_version": "4.41.0",
        "use_cache": true, "vocab_size": 97,
    });
    fs::write(dir.join("config.json"), serde_json::to_vec_pretty(&config).unwrap()).unwrap();
}

/// Runs the program with these words, in a directory of its own.
fn run(dir: &Path, words: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_internlm2"));
    let output = command.args(words.split(' ')).current_dir(dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{words}\n{}", text(output.stderr));
    text(output.stdout)
}

#[test]
fn a_family_of_ones_own_does_all_that_a_shipped_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(&dir.join("hf"));
    fs::copy(llama().join("logits.safetensors"), dir.join("logits.safetensors")).unwrap();
    assert!(run(dir, "list").contains("InternLM2ForCausalLM"));

    // There and back, in safetensors and around each framework.
    run(dir, "import hf --output safetensors");
    for flavor in ["nemo", "megatron-lm", "megatron-bridge"] {
        run(dir, &format!("import hf --flavor {flavor} --output {flavor}"));
    }
    for model in ["safetensors", "nemo", "megatron-lm", "megatron-bridge"] {
        run(dir, &format!("verify hf {model}"));
        run(dir, &format!("verify --logits hf {model} --reference logits.safetensors"));
        run(dir, &format!("export {model} --output back-{model}"));
        run(dir, &format!("diff hf back-{model}"));
        let config = |dir: &Path| fs::read(dir.join("config.json")).unwrap();
        assert_eq!(config(&dir.join(format!("back-{model}"))), config(&dir.join("hf")), "{model}");
    }

    // It computes, and learns.
    run(dir, "generate nemo --prompt The --max-tokens 4");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("finetune/training.jsonl");
    fs::copy(data, dir.join("data.jsonl")).unwrap();
    let finetune = "finetune safetensors --data data.jsonl --seq-length 64 --max-steps 2";
    run(dir, &format!("{finetune} --output full"));
    run(dir, "export full --output full-hf");
    run(dir, &format!("{finetune} --lora 2 --output lora"));
    run(dir, "export lora --output peft");
    let adapter = fs::read_to_string(dir.join("peft/adapter_config.json")).unwrap();
    assert!(adapter.contains("wqkv") && adapter.contains("\"w3\""), "{adapter}");
    run(dir, "merge lora --output merged");
    run(dir, "export merged --output merged-hf");
}

#[test]
fn its_config_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("hf"));
    let config = fs::read(dir.path().join("hf/config.json")).unwrap();
    let importer = Registry::get().unwrap().importer("hf", Some("InternLm2Model"), &[]).unwrap();
    let shown = prove_config(importer, &serde_json::from_slice(&config).unwrap()).unwrap();
    assert!(shown.refused > 40 && shown.returned > 15, "{shown:?}");
}

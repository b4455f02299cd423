use crate::{Fill, Stored, Tensor, encode, index, read_tensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A Hugging Face checkpoint in memory.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// `config.json`; none is written for null.
    pub config: Value,
    /// The tensors, in the order in which they are written.
    pub tensors: Vec<Tensor>,
    /// The other files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A file or directory among the fixtures.
pub fn fixture(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The names of the fixtures that are checkpoints of a family: each is converted, exported, verified
/// and computed by the tests that go through all of them.
pub fn fixtures() -> Vec<String> {
    let all = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
    let all = all.expect("the fixtures").map(|entry| entry.expect("its entries"));
    let families = all.filter(|entry| entry.path().join("hf/config.json").is_file());
    let mut names: Vec<String> =
        families.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// A file of a fixture in the spelling of its config that `hf/` does not have.
pub fn variant(name: &str, file: &str) -> Option<Vec<u8>> {
    let spellings = ["transformers4", "transformers5"].into_iter();
    let read = |spelling| fs::read(fixture(name).join(format!("variants/{file}.{spelling}.json")));
    spellings.map(read).find_map(Result::ok)
}

/// What NeMo or Megatron-Bridge made of a fixture. NeMo pads the vocabulary of Mixtral, with rows that
/// it never writes, and unties Starcoder2, whose output layer is then its embedding. Megatron-Bridge
/// casts the biases of experts to bf16, which stay f32. `None` of a family that neither converts.
pub fn golden(name: &str) -> Option<BTreeMap<String, Stored>> {
    let files = ["nemo_state", "bridge_state"].map(|file| format!("{file}.safetensors"));
    let files = files.map(|file| fixture(name).join(file));
    let file = files.iter().find(|file| file.is_file());
    let Some(file) = file else {
        let converted_by_none = [
            "ernie4_5",
            "ernie4_5_moe",
            "exaone4",
            "glm4",
            "granite",
            "minimax_m2",
            "ministral3",
            "olmo2",
            "phi4_mini",
            "qwen2_moe",
            "seed_oss",
            "smollm3",
        ];
        assert!(converted_by_none.contains(&name), "{name} has no golden state");
        return None;
    };
    let mut state = read_tensors(file);
    if name == "starcoder2" {
        let output = state.remove("output_layer.weight").expect("an output layer");
        assert_eq!(output.bytes, state["embedding.word_embeddings.weight"].bytes);
    }
    let biases = state.iter_mut().filter(|(name, _)| name.ends_with(".expert_bias"));
    for (_, bias) in biases.filter(|(_, bias)| bias.dtype == "BF16") {
        bias.dtype = "F32".into();
        bias.bytes = bias.bytes.chunks(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
    }
    let rows = Model::fixture(name).config["vocab_size"].as_u64().unwrap() as usize;
    for name in ["embedding.word_embeddings.weight", "output_layer.weight"] {
        let Some(tensor) = state.get_mut(name) else { continue };
        tensor.bytes.truncate(tensor.bytes.len() / tensor.shape[0] * rows);
        tensor.shape[0] = rows;
    }
    Some(state)
}

impl Model {
    /// The checkpoint of a fixture, `llama`.
    pub fn fixture(name: &str) -> Self {
        let dir = fixture(&format!("{name}/hf"));
        let mut model = Model::default();
        for (name, stored) in read_tensors(&dir) {
            let (dtype, shape, bytes) = (stored.dtype, stored.shape, stored.bytes);
            model.tensors.push(Tensor { name, dtype, shape, bytes });
        }
        for entry in fs::read_dir(&dir).expect("the fixture") {
            let path = entry.expect("its entries").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = fs::read(&path).expect("its files");
            if name == "config.json" {
                model.config = serde_json::from_slice(&bytes).expect("its config");
            } else if !name.contains("safetensors") {
                model.files.insert(name, bytes);
            }
        }
        model
    }

    /// A Llama of noise whose matrices are large enough for every way of moving bytes: 3 MB a layer
    /// in `F32`.
    pub fn llama(layers: usize, dtype: &str) -> Self {
        let (hidden, inner, kv, vocab) = (256, 704, 128, 1000);
        let config = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
            "intermediate_size": inner, "num_attention_heads": 4, "num_key_value_heads": 2,
            "num_hidden_layers": layers, "vocab_size": vocab, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "max_position_embeddings": 256, "tie_word_embeddings": false,
        });
        let mut model = Model { config, ..Model::default() };
        let mut add = |name: String, shape: &[usize]| {
            model.tensors.push(Tensor::new(&format!("{name}.weight"), dtype, shape, Fill::Noise));
        };
        add("model.embed_tokens".into(), &[vocab, hidden]);
        for layer in 0..layers {
            let at = format!("model.layers.{layer}");
            add(format!("{at}.input_layernorm"), &[hidden]);
            add(format!("{at}.post_attention_layernorm"), &[hidden]);
            for (name, rows) in [("q", hidden), ("k", kv), ("v", kv), ("o", hidden)] {
                add(format!("{at}.self_attn.{name}_proj"), &[rows, hidden]);
            }
            add(format!("{at}.mlp.gate_proj"), &[inner, hidden]);
            add(format!("{at}.mlp.up_proj"), &[inner, hidden]);
            add(format!("{at}.mlp.down_proj"), &[hidden, inner]);
        }
        add("model.norm".into(), &[hidden]);
        add("lm_head".into(), &[vocab, hidden]);
        model
    }

    /// The tensor called `name`.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        let found = self.tensors.iter_mut().find(|tensor| tensor.name == name);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Takes the tensor called `name` out.
    pub fn remove(&mut self, name: &str) -> Tensor {
        let at = self.tensors.iter().position(|tensor| tensor.name == name);
        self.tensors.remove(at.unwrap_or_else(|| panic!("there is no {name}")))
    }

    /// Adds a tensor.
    pub fn add(&mut self, tensor: Tensor) {
        self.tensors.push(tensor);
    }

    /// Calls a tensor something else.
    pub fn rename(&mut self, name: &str, to: &str) {
        self.tensor(name).name = to.into();
    }

    /// Changes a tensor's first dimension to `rows`: cuts it off, or repeats zeros.
    pub fn resize(&mut self, name: &str, rows: usize) {
        let tensor = self.tensor(name);
        let row = tensor.bytes.len() / tensor.shape[0];
        tensor.shape[0] = rows;
        tensor.bytes.resize(rows * row, 0);
    }

    /// Writes everything but the tensors.
    pub fn write_files(&self, dir: &Path) {
        fs::create_dir_all(dir).expect("a new directory");
        if !self.config.is_null() {
            let config = serde_json::to_vec_pretty(&self.config).expect("a config");
            fs::write(dir.join("config.json"), config).expect("the config");
        }
        for (name, bytes) in &self.files {
            fs::write(dir.join(name), bytes).expect("a file beside the tensors");
        }
    }

    /// Writes the checkpoint with all tensors in one file.
    pub fn write(&self, dir: &Path) {
        self.write_files(dir);
        fs::write(dir.join("model.safetensors"), encode(&self.tensors)).expect("the tensors");
    }

    /// Writes the checkpoint with the tensors dealt out to shards, and returns the shards' names.
    pub fn write_shards(&self, dir: &Path, shards: usize, with_index: bool) -> Vec<String> {
        self.write_files(dir);
        let name = |shard| format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let names: Vec<String> = (0..shards).map(name).collect();
        for (shard, name) in names.iter().enumerate() {
            let members = self.tensors.iter().skip(shard).step_by(shards);
            fs::write(dir.join(name), encode(members)).expect("a shard");
        }
        if with_index {
            let homes = self.tensors.iter().zip(names.iter().cycle());
            let bytes = index(homes.map(|(tensor, shard)| (&*tensor.name, &**shard)));
            fs::write(dir.join("model.safetensors.index.json"), bytes).expect("the index");
        }
        names
    }
}

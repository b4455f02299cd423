//! A mixture of another crate, with a config of its own in names of its own: what its schema says of
//! its experts and its vocabulary is enough for every way that a checkpoint goes.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{Experts, TorchDist, VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::{
    ExportOptions, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_block,
    param_schema,
};
use connector_tests::{
    Bench, Model, Tensor, assert_same_tensors, export_options, options, read_tensors,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Clone, Serialize, Deserialize)]
struct Flock {
    depth: usize,
    width: usize,
    birds: usize,
    tokens: usize,
    round_to: usize,
    bundled: bool,
}

impl Flock {
    fn rows(&self) -> usize {
        self.tokens.next_multiple_of(self.round_to)
    }
}

param_block! {
    /// Experts beside a dense layer in the middle.
    BIRDS(c: Flock) {
        axis bird: experts(bundled) = c.birds;
        "moe.experts.local_experts.{bird}.{part:up|down}.weight": [c.width, c.width + 1];
        "moe.experts.local_experts.{bird}.up.bias": [c.width];
    }
}

/// Their rows.
const BIRDS: Mapping = mapping! {
    "birds.{bird}.{part:up|down}" => "moe.experts.local_experts.{bird}.{part}.weight",
    "birds.{bird}.bias" => "moe.experts.local_experts.{bird}.up.bias",
};

param_schema! {
    FlockModel(c: Flock) {
        vocabulary tokens padded to round_to;
        axis layer = c.depth;
        flag dense(layer) = layer == 1;
        "embedding.word_embeddings.weight": [c.rows(), c.width];
        "decoder.layers.{layer}" {
            "norm.weight": [c.width];
            ..BIRDS if !dense;
        }
    }
}

struct HfFlock;

#[model_importer(FlockModel, "hf", architectures = ["FlockForCausalLM"], export)]
impl ModelConnector for HfFlock {
    const MAPPING: Mapping = mapping! {
        "embed" => "embedding.word_embeddings.weight" via ops::pad_vocab,
        "h.{layer}" => "decoder.layers.{layer}" {
            "norm" => "norm.weight",
            ..BIRDS,
        },
    };

    fn config(source: &HfCheckpoint) -> Result<Flock> {
        let fields = source.fields();
        let [depth, width, birds, tokens] =
            ["depth", "width", "birds", "tokens"].map(|name| fields.required(name));
        Ok(Flock { depth, width, birds, tokens, round_to: 1, bundled: false })
    }

    fn source_config(config: &Flock, _: Option<&Value>) -> Result<Value> {
        Ok(json!({
            "architectures": ["FlockForCausalLM"],
            "depth": config.depth, "width": config.width, "birds": config.birds,
            "tokens": config.tokens,
        }))
    }
}

const DEPTH: usize = 3;
const EXPERTS: usize = 11;

fn flock() -> Model {
    let mut tensors = vec![Tensor::noise("embed", &[10, 4])];
    for layer in 0..DEPTH {
        tensors.push(Tensor::noise(&format!("h.{layer}.norm"), &[4]));
        for bird in (0..EXPERTS).filter(|_| layer != 1) {
            let name = |part| format!("h.{layer}.birds.{bird}.{part}");
            tensors.push(Tensor::noise(&name("up"), &[4, 5]));
            tensors.push(Tensor::noise(&name("down"), &[4, 5]));
            tensors.push(Tensor::noise(&name("bias"), &[4]));
        }
    }
    let config = json!({
        "architectures": ["FlockForCausalLM"],
        "depth": DEPTH, "width": 4, "birds": EXPERTS, "tokens": 10,
    });
    Model { config, tensors, ..Model::default() }
}

#[track_caller]
fn assert_equal(source: &Path, checkpoint: &Path) {
    let same = verify(source, checkpoint, &VerifyOptions::default(), &NoProgress).unwrap();
    assert!(same.is_equal(), "{same:?}");
}

/// Import in each spelling and container, verify, export: bit for bit, and padded or not.
#[test]
fn experts_come_back_from_every_container_in_both_spellings() {
    for (experts, name) in [
        (None, "local_experts.7.up.weight"),
        (Some(Experts::Local), "local_experts.7.up.weight"),
        (Some(Experts::Grouped), "up.weight7"),
    ] {
        for torch_dist in [None, Some(TorchDist::default())] {
            let bench = Bench::new(&flock());
            bench.import(options(|o| {
                (o.experts, o.torch_dist) = (experts, torch_dist);
                o.pad_vocab_to_multiple_of = Some(8);
            }));
            if torch_dist.is_none() {
                let names: Vec<String> = bench.weights().into_keys().collect();
                let name = format!("decoder.layers.2.moe.experts.{name}");
                assert!(names.contains(&name), "{name}: {names:?}");
            }
            assert_equal(&bench.source(), &bench.out());
            bench.export(ExportOptions::default());
            assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
            assert_equal(&bench.out(), &bench.back());
        }
    }
}

#[test]
fn a_vocabulary_of_any_name_is_padded_and_the_padding_kept() {
    let bench = Bench::new(&flock());
    bench.import(options(|o| o.pad_vocab_to_multiple_of = Some(8)));
    assert_eq!(bench.weights()["embedding.word_embeddings.weight"].shape, [16, 4]);
    bench.export(export_options(|o| o.keep_vocab_padding = true));
    assert_eq!(read_tensors(&bench.back())["embed"].shape, [16, 4]);
    assert_equal(&bench.out(), &bench.back());
}

/// The same with experts that the schema does not call so: their names say it.
#[derive(Clone, Serialize, Deserialize)]
struct Plain {
    birds: usize,
}

param_schema! {
    PlainModel(c: Plain) {
        axis bird = c.birds;
        "moe.experts.fc.weight{bird}": [4];
    }
}

struct HfPlain;

#[model_importer(PlainModel, "hf", architectures = ["PlainForCausalLM"], export)]
impl ModelConnector for HfPlain {
    const MAPPING: Mapping = mapping! { "birds.{bird}" => "moe.experts.fc.weight{bird}" };

    fn config(source: &HfCheckpoint) -> Result<Plain> {
        Ok(Plain { birds: source.fields().required("birds") })
    }
}

#[test]
fn what_would_not_come_back_from_torch_dist_is_refused_and_the_axis_named() {
    let tensors = (0..2).map(|bird| Tensor::noise(&format!("birds.{bird}"), &[4])).collect();
    let config = json!({ "architectures": ["PlainForCausalLM"], "birds": 2 });
    let bench = Bench::new(&Model { config, tensors, ..Model::default() });
    let text = bench.refuse(options(|o| o.torch_dist = Some(TorchDist::default()))).to_string();
    for part in [
        "moe.experts.fc.weight{bird}",
        "would come back from torch_dist as moe.experts.local_experts.0.fc.weight",
        "declare its axis in the schema as one of `experts`",
        "experts.rs:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for (change, want) in [
        (options(|o| o.experts = Some(Experts::Grouped)), "there are no experts to be named"),
        (options(|o| o.pad_vocab_to_multiple_of = Some(8)), "the vocabulary cannot be padded"),
    ] {
        let text = bench.refuse(change).to_string();
        assert!(text.contains(want), "{text}");
    }
    bench.import(options(|_| {}));
    assert_equal(&bench.source(), &bench.out());
}

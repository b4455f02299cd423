//! Mappings of hard shapes that are right: they compile, and every tensor comes back from its export
//! as it was.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::testing::prove_lossless;
use connector_core::{
    Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema,
};
use connector_tests::{
    Bench, Fill, Model, Tensor, assert_same_tensors, export_options, options, read_tensors,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Mamba,
    Attention,
    Mlp,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Config {
    layers: usize,
    experts: usize,
    /// Layers that predict further tokens.
    mtp: usize,
    /// The first layers, without experts.
    dense: usize,
    kinds: Vec<Kind>,
    /// Of each layer.
    heads: Vec<usize>,
    /// Where each layer stands.
    places: Vec<usize>,
    /// What an adapter is on.
    adapted: Vec<String>,
    fp8: bool,
    num_attention_heads: usize,
    num_query_groups: usize,
}

impl Config {
    fn is(&self, layer: usize, kind: Kind) -> bool {
        self.kinds[layer] == kind
    }

    fn adapts(&self, what: &str) -> bool {
        self.adapted.iter().any(|adapted| adapted == what)
    }
}

fn config() -> Config {
    Config {
        layers: 3,
        experts: 2,
        mtp: 1,
        dense: 1,
        kinds: vec![Kind::Mamba, Kind::Mlp, Kind::Attention],
        heads: vec![1, 2, 4],
        places: vec![0, 1, 3],
        adapted: vec!["q".into()],
        fp8: false,
        num_attention_heads: 2,
        num_query_groups: 2,
    }
}

/// Imports these tensors.
fn imported(architecture: &str, tensors: Vec<Tensor>) -> Bench {
    let config = json!({"architectures": [architecture], "config": config()});
    let mut model = Model { config, ..Model::default() };
    tensors.into_iter().for_each(|tensor| model.add(tensor));
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    bench
}

/// Imports these tensors, exports what came of them, and compares.
fn comes_back(architecture: &str, tensors: Vec<Tensor>) {
    let bench = imported(architecture, tensors);
    bench.export(export_options(|_| {}));
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
    for source in [bench.source(), bench.back()] {
        let verification =
            verify(&source, bench.out(), &VerifyOptions::default(), &NoProgress).unwrap();
        assert!(verification.is_equal(), "{architecture}: {verification:?}");
    }
}

/// Noise for `"name: 4 8"`, and for `"name: = other"` what the other has.
fn tensors(lines: &[&str]) -> Vec<Tensor> {
    let mut all: Vec<Tensor> = Vec::new();
    for line in lines {
        let (name, shape) = line.split_once(": ").unwrap();
        let tensor = match shape.strip_prefix("= ") {
            Some(other) => all.iter().find(|t| t.name == other).unwrap().named(name),
            None => {
                let shape: Vec<usize> =
                    shape.split(' ').map(|number| number.parse().unwrap()).collect();
                Tensor::noise(name, &shape)
            }
        };
        all.push(tensor);
    }
    all
}

fn read_config(source: &HfCheckpoint) -> Result<Config> {
    let fields = source.fields();
    let config = fields.required("config");
    fields.finish()?;
    Ok(config)
}

/// One test for each mapping, of a model and its connector.
macro_rules! right {
    (
        $(#[$doc:meta])*
        $name:ident, $model:ident, $architecture:literal, [$($tensor:literal),* $(,)?],
        |$c:ident| { $($schema:tt)* }, { $($rows:tt)* }
    ) => {
        mod $name {
            use super::*;

            param_schema! { $model($c: Config) { $($schema)* } }

            struct HfHard;

            #[model_importer($model, "hf", architectures = [$architecture], export)]
            impl ModelConnector for HfHard {
                const MAPPING: Mapping = mapping! { $($rows)* };

                fn config(source: &HfCheckpoint) -> Result<Config> {
                    read_config(source)
                }

                fn source_config(config: &Config, _: Option<&Value>) -> Result<Value> {
                    Ok(json!({"architectures": [$architecture], "config": config}))
                }
            }

            $(#[$doc])*
            #[test]
            fn comes_back() {
                super::comes_back($architecture, tensors(&[$($tensor),*]));
                prove_lossless::<HfHard>(&config()).unwrap();
            }
        }
    };
}

right! {
    /// Nemotron-H: a norm is part of another parameter in each kind of layer.
    one_source_for_each_kind, Kinds, "Kinds",
    [
        "b.0.norm: 4", "b.1.norm: 4", "b.2.norm: 4", "b.0.in_proj: 4 4", "b.1.up_proj: 4 4",
        "b.2.q: 4 4", "b.2.k: 4 4", "b.2.v: 4 4",
    ],
    |c| {
        axis layer = c.layers;
        flag mamba(layer) = c.is(layer, Kind::Mamba);
        flag attention(layer) = c.is(layer, Kind::Attention);
        flag mlp(layer) = c.is(layer, Kind::Mlp);
        "d.{layer}" {
            "mixer.norm": [4] if mamba;
            "mixer.in_proj": [4, 4] if mamba;
            "attention.norm": [4] if attention;
            "attention.qkv": [12, 4] if attention;
            "mlp.norm": [4] if mlp;
            "mlp.fc1": [4, 4] if mlp;
        }
    },
    {
        "b.{layer}" => "d.{layer}" {
            "norm" => "mixer.norm",
            "norm" => "attention.norm",
            "norm" => "mlp.norm",
            "in_proj" => "mixer.in_proj",
            "up_proj" => "mlp.fc1",
            ("q", "k", "v") => "attention.qkv" via ops::merge_qkv,
        },
    }
}

right! {
    /// DeepSeek-V3: dense layers first, then experts; the last layer predicts a further token and
    /// repeats the embedding.
    layers_that_predict_further_tokens, FurtherTokens, "FurtherTokens",
    [
        "m.embed: 8 4", "m.layers.0.gu: 8 4", "m.layers.1.experts.0.gu: 8 4",
        "m.layers.1.experts.1.gu: 8 4", "m.layers.2.experts.0.gu: 8 4",
        "m.layers.2.experts.1.gu: 8 4", "m.layers.3.eh_proj: 4 8", "m.layers.3.experts.0.gu: 8 4",
        "m.layers.3.experts.1.gu: 8 4", "m.layers.3.embed: = m.embed", "m.layers.3.norm: 4",
    ],
    |c| {
        axis layer = c.layers;
        axis e = c.experts;
        axis mtp = c.mtp;
        field num_layers = c.layers;
        flag moe(layer) = layer >= c.dense;
        "embed": [8, 4];
        "d.{layer}.fc1": [8, 4] if !moe;
        "d.{layer}.experts.weight{e}": [8, 4] if moe;
        "mtp.{mtp}.eh_proj": [4, 8];
        "mtp.{mtp}.experts.weight{e}": [8, 4];
        "mtp_norm": [4];
    },
    {
        "m.embed" => "embed",
        "m.layers.{layer}" => "d.{layer}" {
            "gu" => "fc1",
            "experts.{e}.gu" => "experts.weight{e}",
        }
        "m.layers.{num_layers + mtp}" => "mtp.{mtp}" {
            "eh_proj" => "eh_proj",
            "experts.{e}.gu" => "experts.weight{e}",
        }
        "m.layers.{num_layers:field}.norm" => "mtp_norm",
        copy "m.layers.{num_layers + mtp}.embed" == "m.embed",
    }
}

right! {
    /// The same of one layer that has no axis.
    equal_at_a_field, EqualAtAField, "EqualAtAField",
    ["m.embed: 8 4", "m.layers.3.embed: = m.embed"],
    |c| {
        field num_layers = c.layers;
        "embed": [8, 4];
    },
    {
        "m.embed" => "embed",
        copy "m.layers.{num_layers:field}.embed" == "m.embed",
    }
}

right! {
    /// Llama 4: the experts of a layer are one transposed tensor.
    stacked_experts, Stacked, "Stacked",
    ["m.0.gate_up: 8 4", "m.1.experts.gate_up: 2 4 8", "m.2.gate_up: 8 4"],
    |c| {
        axis layer = c.layers;
        axis e = c.experts;
        flag moe(layer) = layer % 2 == 1;
        "d.{layer}.fc1": [8, 4] if !moe;
        "d.{layer}.experts.fc1.weight{e}": [8, 4] if moe;
    },
    {
        "m.{layer}" => "d.{layer}" {
            "gate_up" => "fc1",
            "experts.gate_up" as transposed => "experts.fc1.weight{e}" via ops::transpose unstack e,
        }
    }
}

right! {
    /// Llama-Nemotron: each layer has another number of heads.
    heads_of_each_layer, Heads, "Heads",
    [
        "m.0.q: 2 4", "m.0.k: 2 4", "m.0.v: 2 4", "m.1.q: 4 4", "m.1.k: 2 4", "m.1.v: 2 4",
        "m.2.q: 8 4", "m.2.k: 2 4", "m.2.v: 2 4",
    ],
    |c| {
        axis layer = c.layers;
        field num_attention_heads(layer) = c.heads[layer];
        field num_query_groups(layer) = 1;
        "d.{layer}.qkv": [2 * (c.heads[layer] + 2), 4];
    },
    { ("m.{layer}.q", "m.{layer}.k", "m.{layer}.v") => "d.{layer}.qkv" via ops::merge_qkv }
}

right! {
    /// Layers of another sort between: a field for each index says where each stands.
    any_places, AnyPlaces, "AnyPlaces",
    ["m.0.w: 4", "m.1.w: 4", "m.3.w: 4", "m.2.x: 4"],
    |c| {
        axis layer = c.layers;
        axis x = 1;
        field shift(layer) = c.places[layer] - layer;
        field at(x) = 2 - x;
        "d.{layer}.w": [4];
        "x.{x}.w": [4];
    },
    {
        "m.{shift + layer}.w" => "d.{layer}.w",
        "m.{at + x}.x" => "x.{x}.w",
    }
}

right! {
    /// Every fifth layer, from the third on.
    multiples, Multiples, "Multiples",
    ["m.3.w: 4", "m.8.w: 4", "m.13.w: 4"],
    |c| {
        axis x = c.layers;
        "d.{x}.w": [4];
    },
    { "m.{5 * x + 3}.w" => "d.{x}.w" }
}

right! {
    /// T5: two stacks, and what only the first layer of one has.
    two_stacks, TwoStacks, "TwoStacks",
    [
        "shared: 8 4", "encoder.embed: = shared", "encoder.0.bias: 4", "encoder.0.o: 4 4",
        "encoder.1.o: 4 4", "encoder.2.o: 4 4", "decoder.0.k: 4 4", "decoder.0.v: 4 4",
    ],
    |c| {
        axis encoder = c.layers;
        axis decoder = 1;
        "embed": [8, 4];
        "encoder.bias": [4];
        "encoder.{encoder}.proj": [4, 4];
        "decoder.{decoder}.kv": [8, 4];
    },
    {
        "shared" => "embed",
        copy "encoder.embed" == "shared",
        "encoder.0.bias" => "encoder.bias",
        "encoder.{encoder}.o" => "encoder.{encoder}.proj",
        ("decoder.{decoder}.k" as gate, "decoder.{decoder}.v" as up)
            => "decoder.{decoder}.kv" as gate_up via ops::merge_fc1,
    }
}

right! {
    /// An adapter on any of nine linear layers.
    nine_flags, NineFlags, "NineFlags",
    ["b.0.q.lora_A: 2 4", "b.0.k.lora_A: = b.0.q.lora_A", "b.0.v.lora_A: = b.0.q.lora_A"],
    |c| {
        axis layer = 1;
        flag q = c.adapts("q");
        flag k = c.adapts("k");
        flag v = c.adapts("v");
        flag o = c.adapts("o");
        flag gate = c.adapts("gate");
        flag up = c.adapts("up");
        flag down = c.adapts("down");
        flag embed = c.adapts("embed");
        flag head = c.adapts("head");
        "d.{layer}.qkv.adapter": [2, 4] if q;
        "d.{layer}.head.adapter": [2, 4] if head && !embed;
    },
    {
        ("b.{layer}.q.lora_A", "b.{layer}.k.lora_A", "b.{layer}.v.lora_A")
            => "d.{layer}.qkv.adapter" via ops::same3,
        "b.{layer}.head.lora_A" => "d.{layer}.head.adapter",
    }
}

const SHARED: Mapping = mapping! { ("q" as gate, "k" as up) => "qk" via ops::merge_fc1 };

right! {
    /// One block that all layers share.
    one_for_all_layers, Shared, "Shared",
    ["shared.w: 4 4", "shared.q: 2 4", "shared.k: 2 4", "m.0.own: 4", "m.1.own: 4", "m.2.own: 4"],
    |c| {
        axis layer = c.layers;
        "d.{layer}.w": [4, 4];
        "d.{layer}.qk": [4, 4];
        "d.{layer}.own": [4];
    },
    {
        "shared" => "d.{layer}" repeat layer {
            "w" => "w",
            ..SHARED,
        }
        "m.{layer}.own" => "d.{layer}.own",
    }
}

#[test]
fn what_all_layers_share_must_be_the_same_in_all() {
    let names = ["shared.w: 4 4", "shared.q: 2 4", "shared.k: 2 4"];
    let own = ["m.0.own: 4", "m.1.own: 4", "m.2.own: 4"];
    let bench = imported("Shared", tensors(&[&names[..], &own].concat()));
    // The last tensor of the file is that of the last layer.
    let file = bench.out().join("weights/model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let text = bench.refuse_export(export_options(|_| {})).to_string();
    assert!(text.contains("d.2.w"), "{text}");
    assert!(text.contains("it must hold the same bytes as d.0.w"), "{text}");
}

right! {
    /// One norm in each layer, which the source has under a name for each kind.
    one_target_for_all_kinds, OneTarget, "OneTarget",
    ["b.0.mamba_norm: 4", "b.1.mlp_norm: 4", "b.2.attention_norm: 4", "b.0.x: 4", "b.2.x: 4"],
    |c| {
        axis layer = c.layers;
        flag mamba(layer) = c.is(layer, Kind::Mamba);
        flag attention(layer) = c.is(layer, Kind::Attention);
        flag mlp(layer) = c.is(layer, Kind::Mlp);
        one of mamba, attention, mlp;
        "d.{layer}.norm": [4];
        "d.{layer}.x": [4] if mamba || attention;
    },
    {
        "b.{layer}.mamba_norm" => "d.{layer}.norm" when mamba,
        "b.{layer}.attention_norm" => "d.{layer}.norm" when attention,
        "b.{layer}.mlp_norm" => "d.{layer}.norm" when mlp,
        "b.{layer}.x" => "d.{layer}.x" when !mlp,
    }
}

right! {
    /// The same with flags of which none may hold.
    one_target_for_some_kinds, SomeKinds, "SomeKinds",
    ["b.0.mamba_norm: 4", "b.1.mlp_norm: 4", "b.2.attention_norm: 4"],
    |c| {
        axis layer = c.layers;
        flag mamba(layer) = c.is(layer, Kind::Mamba);
        flag attention(layer) = c.is(layer, Kind::Attention);
        at most one of mamba, attention;
        "d.{layer}.norm": [4];
    },
    {
        "b.{layer}.mamba_norm" => "d.{layer}.norm" when mamba,
        "b.{layer}.attention_norm" => "d.{layer}.norm" when attention,
        "b.{layer}.mlp_norm" => "d.{layer}.norm" when !mamba && !attention,
    }
}

right! {
    /// The first layer has another name, and all others that of the layer before.
    conditions_on_an_index, ByIndex, "ByIndex",
    [
        "m.0.a: 4", "m.1.b: 4", "m.2.b: 4", "first.x: 4", "m.0.x: 4", "m.1.x: 4", "m.0.last: 4",
        "m.2.y: 4",
    ],
    |c| {
        axis layer = c.layers;
        field dense = c.dense;
        "d.{layer}" {
            "w": [4];
            "x": [4];
            "last": [4] if layer < dense;
            "y": [4] if layer > dense;
        }
    },
    {
        "m.{layer}.a" => "d.{layer}.w" when layer == 0,
        "m.{layer}.b" => "d.{layer}.w" when layer > 0,
        "first.x" => "d.{layer}.x" repeat layer when layer == 0,
        "m.{layer - 1}.x" => "d.{layer}.x" when layer != 0,
        "m.{layer}.last" => "d.{layer}.last",
        "m.{layer}.y" => "d.{layer}.y",
    }
}

mod quantised {
    use super::*;

    param_schema! {
        Numbers(c: Config) {
            axis layer = c.layers;
            flag fp8 = c.fp8;
            "d.{layer}" {
                "fc1": [8, 4];
                "gate": [4, 4] if fp8;
                "up": [4, 4] if fp8;
            }
        }
    }

    struct HfNumbers;

    #[model_importer(Numbers, "hf", architectures = ["Quantised"])]
    impl ModelConnector for HfNumbers {
        const MAPPING: Mapping = mapping! {
            "m.{layer}" => "d.{layer}" {
                ("gate", "gate.scale", "up", "up.scale") => "fc1"
                    via (ops::dequantise_fp8 each, ops::merge_fc1) when fp8,
                ("gate", "up") => "fc1" via ops::merge_fc1 when !fp8,
                ("alone.gate", "alone.gate.scale") => "gate" via ops::dequantise_fp8,
                ("alone.up", "alone.up.scale") => "up" via ops::dequantise_fp8,
            }
        };

        fn config(source: &HfCheckpoint) -> Result<Config> {
            read_config(source)
        }

        fn source_config(_: &Config, _: Option<&Value>) -> Result<Value> {
            Err(Error::Cancelled)
        }
    }

    /// DeepSeek-V3 in FP8: gate and up, each with its scale, become one.
    #[test]
    fn each_with_its_scale() {
        let config = json!({
            "architectures": ["Quantised"],
            "config": Config { fp8: true, ..config() },
        });
        let mut model = Model { config, ..Model::default() };
        for layer in 0..3 {
            for (name, scale) in [("gate", 0.5), ("up", 2.0)] {
                let weight = Tensor::new(name, "F8_E4M3", &[4, 4], Fill::Noise);
                for name in [format!("m.{layer}.{name}"), format!("m.{layer}.alone.{name}")] {
                    let mut scales = Tensor::noise(&format!("{name}.scale"), &[1, 1]);
                    scales.bytes = f32::to_le_bytes(scale).to_vec();
                    model.add(scales);
                    model.add(Tensor { name, ..weight.clone() });
                }
            }
        }
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        let made = bench.weights();
        for layer in 0..3 {
            let bytes = |name: &str| made[&format!("d.{layer}.{name}")].bytes.clone();
            assert_eq!(bytes("fc1"), [bytes("gate"), bytes("up")].concat());
            assert_ne!(bytes("gate"), bytes("up"));
        }
    }
}

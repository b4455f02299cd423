//! 14, 15, 30: an axis that is in the keys of one side and in the tensors of the other.

use crate::support::{begin, has, plan};
use connector_core::{Mapping, mapping, ops, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    layers: usize,
    experts: usize,
}

param_schema! {
    /// GPT-OSS and Llama 4: experts apart.
    Grouped(c: Config) {
        axis layer = c.layers;
        axis e = c.experts;
        "decoder.layers.{layer}.mlp.experts.linear_fc1.weight{e}": [8, 4];
    }
}

param_schema! {
    /// transformers 5: experts in one tensor.
    Packed(c: Config) {
        axis layer = c.layers;
        axis e = c.experts;
        "model.layers.{layer}.mlp.experts.gate_up_proj": [c.experts, 8, 4];
    }
}

param_schema! {
    /// A distributed checkpoint: all layers in one tensor.
    Homogeneous(c: Config) {
        axis layer = c.layers;
        "decoder.layers.mlp.linear_fc2.weight": [c.layers, 4];
    }
}

param_schema! {
    /// The same by layer.
    ByLayer(c: Config) {
        axis layer = c.layers;
        "model.layers.{layer}.mlp.down_proj.weight": [4];
    }
}

fn config(layers: usize, experts: usize) -> Config {
    Config { layers, experts }
}

// How many there are is in no key. The config says it, and the header must agree.
#[test]
fn p14_one_becomes_many() {
    const ROWS: Mapping = mapping! {
        "model.layers.{layer}.mlp.experts.gate_up_proj" =>
            "decoder.layers.{layer}.mlp.experts.linear_fc1.weight{e}" via ops::transpose unstack e,
    };
    let source = ["model.layers.{0..2}.mlp.experts.gate_up_proj: 11 4 8"];
    let makes = plan::<Grouped>(&config(2, 11), ROWS, &source).makes();
    assert_eq!(makes.len(), 22);
    has(
        &makes,
        &[
            "decoder.layers.1.mlp.experts.linear_fc1.weight2 <- model.layers.1.mlp.experts.gate_up_proj[2]",
            "decoder.layers.1.mlp.experts.linear_fc1.weight10 <- model.layers.1.mlp.experts.gate_up_proj[10]",
        ],
    );
    for experts in [10, 12] {
        begin(
            &plan::<Grouped>(&config(2, experts), ROWS, &source).refused(),
            &[&format!(
                "shape decoder.layers.{{0,1}}.mlp.experts.linear_fc1.weight{{0..{}}}: \
             model.layers.{{0,1}}.mlp.experts.gate_up_proj is [11, 4, 8]: \
             its first dimension should be {experts}",
                experts - 1
            )],
        );
    }
}

#[test]
fn p15_many_become_one_in_order() {
    const ROWS: Mapping = mapping! {
        (
            "model.layers.{layer}.mlp.experts.{e}.gate_proj.weight",
            "model.layers.{layer}.mlp.experts.{e}.up_proj.weight",
        ) => "model.layers.{layer}.mlp.experts.gate_up_proj" via ops::merge_fc1 stack e,
    };
    let gate = "model.layers.0.mlp.experts.{0..11}.gate_proj.weight: 4 4";
    let up = "model.layers.0.mlp.experts.{0..11}.up_proj.weight: 4 4";
    let makes = plan::<Packed>(&config(1, 11), ROWS, &[gate, up]).makes();
    let expert = |e: usize| {
        format!(
            "model.layers.0.mlp.experts.{e}.gate_proj.weight, model.layers.0.mlp.experts.{e}.up_proj.weight"
        )
    };
    let all: Vec<String> = (0..11).map(expert).collect();
    let want = format!("model.layers.0.mlp.experts.gate_up_proj <- {}", all.join(", "));
    assert_eq!(makes, [want]);
    let hole = [
        "model.layers.0.mlp.experts.{0..9}.up_proj.weight: 4 4",
        "model.layers.0.mlp.experts.10.up_proj.weight: 4 4",
    ];
    begin(
        &plan::<Packed>(&config(1, 11), ROWS, &[gate, hole[0], hole[1]]).refused(),
        &["missing-source model.layers.0.mlp.experts.gate_up_proj: \
         merge_fc1 needs model.layers.0.mlp.experts.9.up_proj.weight, which"],
    );
}

#[test]
fn p30_stacked_layers() {
    const STACK: Mapping = mapping! {
        "model.layers.{layer}.mlp.down_proj.weight" => "decoder.layers.mlp.linear_fc2.weight" stack layer,
    };
    let source = ["model.layers.{0..3}.mlp.down_proj.weight: 4"];
    assert_eq!(
        plan::<Homogeneous>(&config(3, 0), STACK, &source).makes(),
        ["decoder.layers.mlp.linear_fc2.weight <- model.layers.0.mlp.down_proj.weight, \
         model.layers.1.mlp.down_proj.weight, model.layers.2.mlp.down_proj.weight",]
    );
    const UNSTACK: Mapping = mapping! {
        "decoder.layers.mlp.linear_fc2.weight" => "model.layers.{layer}.mlp.down_proj.weight" unstack layer,
    };
    let source = ["decoder.layers.mlp.linear_fc2.weight: 3 4"];
    has(
        &plan::<ByLayer>(&config(3, 0), UNSTACK, &source).makes(),
        &["model.layers.2.mlp.down_proj.weight <- decoder.layers.mlp.linear_fc2.weight[2]"],
    );
}

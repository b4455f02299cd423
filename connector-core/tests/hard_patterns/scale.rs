//! 35: DeepSeek V3 has 44,544 keys of experts. NeMo's `**.down_proj.weight` alone takes seconds.

use crate::support::{has, plan};
use connector_core::{Mapping, mapping, ops, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    layers: usize,
    dense: usize,
    experts: usize,
}

param_schema! {
    /// The MLPs of DeepSeek V3.
    DeepSeek(c: Config) {
        axis layer = c.layers;
        axis e = c.experts;
        flag moe(layer) = layer >= c.dense;
        "decoder.layers.{layer}.mlp" {
            "linear_fc1.weight": [4] if !moe;
            "linear_fc2.weight": [2] if !moe;
            "experts.linear_fc1.weight{e}": [4] if moe;
            "experts.linear_fc2.weight{e}": [2] if moe;
            "shared_experts.linear_fc1.weight": [4] if moe;
            "shared_experts.linear_fc2.weight": [2] if moe;
        }
    }
}

const ROWS: Mapping = mapping! {
    "model.layers.{layer}.mlp" => "decoder.layers.{layer}.mlp" {
        ("gate_proj.weight", "up_proj.weight") => "linear_fc1.weight" via ops::concat2,
        "down_proj.weight" => "linear_fc2.weight",
        ("experts.{e}.gate_proj.weight", "experts.{e}.up_proj.weight")
            => "experts.linear_fc1.weight{e}" via ops::concat2,
        "experts.{e}.down_proj.weight" => "experts.linear_fc2.weight{e}",
        ("shared_experts.gate_proj.weight", "shared_experts.up_proj.weight")
            => "shared_experts.linear_fc1.weight" via ops::concat2,
        "shared_experts.down_proj.weight" => "shared_experts.linear_fc2.weight",
    }
};

fn source() -> Vec<String> {
    let projections = ["gate_proj", "up_proj", "down_proj"];
    let all = |prefix: &str| projections.map(|p| format!("model.layers.{prefix}.{p}.weight: 2"));
    ["{0..3}.mlp", "{3..61}.mlp.experts.{0..256}", "{3..61}.mlp.shared_experts"]
        .iter()
        .flat_map(|prefix| all(prefix))
        .collect()
}

#[test]
fn p35_tens_of_thousands_of_keys() {
    let config = Config { layers: 61, dense: 3, experts: 256 };
    let source = source();
    let source: Vec<&str> = source.iter().map(String::as_str).collect();
    let planned = plan::<DeepSeek>(&config, ROWS, &source);
    assert_eq!(planned.tensors.len(), 3 * 3 + 58 * 256 * 3 + 58 * 3);
    let makes = planned.makes();
    assert_eq!(makes.len(), 2 * 3 + 58 * 256 * 2 + 58 * 2);
    has(
        &makes,
        &["decoder.layers.10.mlp.experts.linear_fc1.weight200 <- \
         model.layers.10.mlp.experts.200.gate_proj.weight, model.layers.10.mlp.experts.200.up_proj.weight"],
    );
}

#[test]
fn p35_a_checkpoint_that_does_not_fit() {
    let config = Config { layers: 61, dense: 3, experts: 256 };
    let source = source();
    let source: Vec<String> = source.iter().map(|line| line.replace("mlp", "ffn")).collect();
    let source: Vec<&str> = source.iter().map(String::as_str).collect();
    let refused = plan::<DeepSeek>(&config, ROWS, &source).refused();
    // One for each sort of tensor, of either side.
    assert_eq!(refused.len(), 9 + 6, "{}", refused.join("\n"));
}

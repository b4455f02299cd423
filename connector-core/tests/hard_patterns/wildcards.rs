//! 4, 5, 19, 21, 32: what `*`, `**` and `{index}` take.

use crate::support::{Free, begin, nothing, plan};
use connector_core::{Mapping, mapping, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    layers: usize,
    experts: usize,
}

// `weight*` takes `_scale` beside `0` and `1`; an index takes digits.
#[test]
fn p04_glued_look_alikes() {
    const INDEX: Mapping = mapping! {
        "experts.linear_fc1.weight{e}" => "experts.{e}.w1.weight",
        ignore "experts.linear_fc1.weight_extra_state",
    };
    let weights = "experts.linear_fc1.weight{0..3}: 4";
    let extra = "experts.linear_fc1.weight_extra_state: 1";
    let planned = plan::<Free>(&nothing(), INDEX, &[weights, extra]);
    assert_eq!(
        planned.makes(),
        [
            "experts.0.w1.weight <- experts.linear_fc1.weight0",
            "experts.1.w1.weight <- experts.linear_fc1.weight1",
            "experts.2.w1.weight <- experts.linear_fc1.weight2",
        ]
    );
    assert_eq!(planned.ignored(), ["experts.linear_fc1.weight_extra_state"]);
    let refused = plan::<Free>(&nothing(), INDEX, &[weights, "experts.linear_fc1.weight_scale: 1"]);
    begin(&refused.refused(), &["unused-tensor experts.linear_fc1.weight_scale"]);
}

// `*` has at least one character; the un-indexed key is another row.
#[test]
fn p05_glued_and_empty() {
    const GLUED: Mapping = mapping! { "fc.weight*" => "fc.w*" };
    let refused = plan::<Free>(&nothing(), GLUED, &["fc.weight0: 4", "fc.weight: 4"]).refused();
    begin(&refused, &["unused-tensor fc.weight"]);
    const BOTH: Mapping = mapping! { "fc.weight*" => "fc.w*", "fc.weight" => "fc.w" };
    let makes = plan::<Free>(&nothing(), BOTH, &["fc.weight0: 4", "fc.weight: 4"]).makes();
    assert_eq!(makes, ["fc.w <- fc.weight", "fc.w0 <- fc.weight0"]);
}

// One glob for dense, routed and shared experts. A model's schema tells the three apart by their
// targets; an index does not take `shared_experts`; without a schema it is ambiguous.
#[test]
fn p19_overlapping_globs() {
    param_schema! {
        /// Routed and shared experts.
        Experts(c: Config) {
            axis layer = c.layers;
            axis e = c.experts;
            flag moe(layer) = layer > 0;
            "d.{layer}.mlp" {
                "linear_fc2.weight": [4] if !moe;
                "experts.linear_fc2.weight{e}": [4] if moe;
                "shared_experts.linear_fc2.weight": [4] if moe;
            }
        }
    }
    const ROWS: Mapping = mapping! {
        "m.{layer}.mlp" => "d.{layer}.mlp" {
            "down_proj.weight" => "linear_fc2.weight",
            "experts.{e}.down_proj.weight" => "experts.linear_fc2.weight{e}",
            "shared_experts.down_proj.weight" => "shared_experts.linear_fc2.weight",
        }
    };
    let source = [
        "m.0.mlp.down_proj.weight: 4",
        "m.1.mlp.experts.{0..2}.down_proj.weight: 4",
        "m.1.mlp.shared_experts.down_proj.weight: 4",
    ];
    let config = Config { layers: 2, experts: 2 };
    assert_eq!(
        plan::<Experts>(&config, ROWS, &source).makes(),
        [
            "d.0.mlp.linear_fc2.weight <- m.0.mlp.down_proj.weight",
            "d.1.mlp.experts.linear_fc2.weight0 <- m.1.mlp.experts.0.down_proj.weight",
            "d.1.mlp.experts.linear_fc2.weight1 <- m.1.mlp.experts.1.down_proj.weight",
            "d.1.mlp.shared_experts.linear_fc2.weight <- m.1.mlp.shared_experts.down_proj.weight",
        ]
    );
    const GLOBS: Mapping = mapping! {
        "**.down_proj.weight" => "**.linear_fc2.weight",
        "**.experts.*.down_proj.weight" => "**.experts.linear_fc2.weight*",
    };
    let refused = plan::<Free>(&nothing(), GLOBS, &source).refused();
    begin(&refused, &["ambiguous m.1.mlp.experts.{0,1}.down_proj.weight: by the rule here and by"]);
}

// In T5 `layer.0` is the role of self-attention, not an index.
#[test]
fn p21_literal_digits() {
    const T5: Mapping = mapping! {
        "encoder.block.{layer}.layer.0.SelfAttention.o.weight" => "encoder.layers.{layer}.self_attention.linear_proj.weight",
        "encoder.block.{layer}.layer.1.DenseReluDense.wo.weight" => "encoder.layers.{layer}.mlp.linear_fc2.weight",
        "visual.merger.mlp.0.weight" => "projection.linear_fc1.weight",
        "visual.merger.mlp.2.weight" => "projection.linear_fc2.weight",
    };
    let source = [
        "encoder.block.{0..2}.layer.0.SelfAttention.o.weight: 4",
        "encoder.block.{0..2}.layer.1.DenseReluDense.wo.weight: 4",
        "visual.merger.mlp.0.weight: 4",
        "visual.merger.mlp.2.weight: 4",
    ];
    let makes = plan::<Free>(&nothing(), T5, &source).makes();
    assert_eq!(
        makes[..2],
        [
            "encoder.layers.0.mlp.linear_fc2.weight <- encoder.block.0.layer.1.DenseReluDense.wo.weight",
            "encoder.layers.0.self_attention.linear_proj.weight <- encoder.block.0.layer.0.SelfAttention.o.weight",
        ]
    );
    let refused =
        plan::<Free>(&nothing(), T5, &[&source[..], &["visual.merger.mlp.1.weight: 4"]].concat());
    begin(&refused.refused(), &["unused-tensor visual.merger.mlp.1.weight"]);
}

#[test]
fn p32_metacharacters() {
    const ROWS: Mapping = mapping! { "a+b.(w)[{l}]" => "c|d.{l}.$" };
    let makes = plan::<Free>(&nothing(), ROWS, &["a+b.(w)[{0..2}]: 4"]).makes();
    assert_eq!(makes, ["c|d.0.$ <- a+b.(w)[0]", "c|d.1.$ <- a+b.(w)[1]"]);
    begin(
        &plan::<Free>(&nothing(), ROWS, &["aab.(w)[0]: 4"]).refused(),
        &["unused-tensor aab.(w)[0]", "missing-source c|d.{l}.$"],
    );
}

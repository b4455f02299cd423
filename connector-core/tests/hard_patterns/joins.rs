//! 1, 2, 3, 6, 10, 11, 12, 13: keys are joined by captured value.

use crate::support::{Free, begin, has, nothing, plan};
use connector_core::{Mapping, mapping, ops, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    layers: usize,
    experts: usize,
}

param_schema! {
    /// Attention and grouped experts.
    Model(c: Config) {
        axis layer = c.layers;
        axis e = c.experts;
        "decoder.layers.{layer}" {
            "self_attention.linear_proj.weight": [4, 4];
            "mlp.experts.linear_fc2.weight{e}": [4, 2];
        }
    }
}

const ROWS: Mapping = mapping! {
    "model.layers.{layer}.self_attn.o_proj.weight" => "decoder.layers.{layer}.self_attention.linear_proj.weight",
    "model.layers.{layer}.mlp.experts.{e}.down_proj.weight" => "decoder.layers.{layer}.mlp.experts.linear_fc2.weight{e}",
};

fn config(layers: usize, experts: usize) -> Config {
    Config { layers, experts }
}

#[test]
fn p01_more_than_ten_layers() {
    let source = [
        "model.layers.{0..12}.self_attn.o_proj.weight: 4 4",
        "model.layers.{0..12}.mlp.experts.{0..11}.down_proj.weight: 4 2",
    ];
    let makes = plan::<Model>(&config(12, 11), ROWS, &source).makes();
    assert_eq!(makes.len(), 12 * 12);
    let pair = |layer: usize, e: usize| {
        let (to, from) = ("mlp.experts.linear_fc2.weight", "mlp.experts");
        format!(
            "decoder.layers.{layer}.{to}{e} <- model.layers.{layer}.{from}.{e}.down_proj.weight"
        )
    };
    for (layer, e) in [(1, 2), (2, 1), (2, 10), (10, 2), (11, 10)] {
        has(&makes, &[&pair(layer, e)]);
    }
}

// `**` takes part in a join by value too, so that the order in which it is listed is of no matter.
// With a schema a prefix that differs is a block, not a `**`.
#[test]
fn p02_text_order_under_any() {
    const ANY: Mapping =
        mapping! { "**.self_attn.o_proj.weight" => "**.self_attention.linear_proj.weight" };
    let source = ["model.layers.{2..12}.self_attn.o_proj.weight: 4"];
    let makes = plan::<Free>(&nothing(), ANY, &source).makes();
    has(
        &makes,
        &[
            "model.layers.2.self_attention.linear_proj.weight <- model.layers.2.self_attn.o_proj.weight",
            "model.layers.10.self_attention.linear_proj.weight <- model.layers.10.self_attn.o_proj.weight",
        ],
    );
}

// NeMo pairs {language, vision} with {clip, decoder} by the alphabet. A prefix that differs is
// named, so each tower is a block of its own; `**` carries its text over and nothing else.
#[test]
fn p03_towers() {
    param_schema! {
        /// Two towers of the same shapes.
        Towers(c: Config) {
            axis layer = c.layers;
            "decoder.{layer}.weight": [4];
            "clip.{layer}.weight": [4];
        }
    }
    const BLOCKS: Mapping = mapping! {
        "language" => "decoder" { "{layer}.w" => "{layer}.weight" }
        "vision" => "clip" { "{layer}.w" => "{layer}.weight" }
    };
    let source = ["language.{0..2}.w: 4", "vision.{0..2}.w: 4"];
    let makes = plan::<Towers>(&config(2, 0), BLOCKS, &source).makes();
    has(&makes, &["clip.1.weight <- vision.1.w", "decoder.1.weight <- language.1.w"]);

    const ANY: Mapping = mapping! { "**.w" => "**.weight" };
    let refused = plan::<Towers>(&config(2, 0), ANY, &source).refused();
    has(
        &refused,
        &[
            "missing-source decoder.{0,1}.weight: rename needs decoder.{0,1}.w, which is not in the checkpoint",
            "missing-source clip.{0,1}.weight: rename needs clip.{0,1}.w, which is not in the checkpoint",
        ],
    );
}

#[test]
fn p06_gaps_in_layers() {
    let layers = |range: &str| format!("model.layers.{range}.self_attn.o_proj.weight: 4 4");
    // Layers 1 and 3 of a model of two layers, not layers 0 and 1.
    let source = [layers("{1..2}"), layers("{3..4}")];
    let source: Vec<&str> = source.iter().map(String::as_str).collect();
    begin(
        &plan::<Model>(&config(2, 0), ROWS, &source).refused(),
        &[
            "unused-tensor model.layers.3.self_attn.o_proj.weight",
            "missing-source decoder.layers.0.self_attention.linear_proj.weight: rename needs model.layers.0.self",
        ],
    );
    // A source of more layers than the config says.
    let refused = plan::<Model>(&config(2, 0), ROWS, &[&layers("{0..3}")]).refused();
    begin(&refused, &["unused-tensor model.layers.2.self_attn.o_proj.weight"]);
    // Without a schema the layers keep their numbers.
    const FREE: Mapping = mapping! { "l.{layer}.w" => "d.{layer}.w" };
    let makes = plan::<Free>(&nothing(), FREE, &["l.{1..3}.w: 4"]).makes();
    assert_eq!(makes, ["d.1.w <- l.1.w", "d.2.w <- l.2.w"]);
}

#[test]
fn p10_a_part_is_missing() {
    const QKV: Mapping = mapping! {
        ("l.{layer}.q", "l.{layer}.k", "l.{layer}.v") => "d.{layer}.qkv" via ops::concat3,
    };
    let source = ["l.{0..3}.q: 4", "l.0.k: 4", "l.2.k: 4", "l.{0..3}.v: 4"];
    begin(
        &plan::<Free>(&nothing(), QKV, &source).refused(),
        &["missing-source d.1.qkv: concat3 needs l.1.k, which is not in the checkpoint"],
    );
}

#[test]
fn p11_ragged_experts() {
    let source = [
        "model.layers.{0..2}.self_attn.o_proj.weight: 4 4",
        "model.layers.0.mlp.experts.0.down_proj.weight: 4 2",
        "model.layers.1.mlp.experts.{0..2}.down_proj.weight: 4 2",
    ];
    begin(
        &plan::<Model>(&config(2, 2), ROWS, &source).refused(),
        &["missing-source decoder.layers.0.mlp.experts.linear_fc2.weight1: \
         rename needs model.layers.0.mlp.experts.1.down_proj.weight"],
    );
    begin(
        &plan::<Model>(&config(2, 1), ROWS, &source).refused(),
        &["unused-tensor model.layers.1.mlp.experts.1.down_proj.weight"],
    );
    const STACK: Mapping = mapping! { "l.{layer}.{e}.w" => "d.{layer}.w" stack e };
    let refused = plan::<Free>(&nothing(), STACK, &["l.0.0.w: 4", "l.1.{0..2}.w: 4"]).refused();
    begin(
        &refused,
        &["missing-source d.0.w: rename needs l.0.1.w, which is not in the checkpoint"],
    );
}

// With `*` the row does not compile if the numbers differ, and binds by position if they agree;
// with names the order is of no matter.
#[test]
fn p12_axes_in_another_order() {
    const SWAPPED: Mapping =
        mapping! { "layers.{layer}.experts.{e}.w" => "experts.{e}.layers.{layer}.w" };
    let makes = plan::<Free>(&nothing(), SWAPPED, &["layers.{0..2}.experts.{0..3}.w: 4"]).makes();
    has(
        &makes,
        &[
            "experts.2.layers.0.w <- layers.0.experts.2.w",
            "experts.0.layers.1.w <- layers.1.experts.0.w",
        ],
    );
}

#[test]
fn p13_more_targets_than_sources() {
    let source = [
        "model.layers.{0..2}.self_attn.o_proj.weight: 4 4",
        "model.layers.{0..2}.mlp.experts.0.down_proj.weight: 4 2",
    ];
    begin(
        &plan::<Model>(&config(4, 1), ROWS, &source).refused(),
        &[
            "missing-source decoder.layers.{2,3}.mlp.experts.linear_fc2.weight0: \
         rename needs model.layers.{2,3}.mlp.experts.0.down_proj.weight, which is not",
            "missing-source decoder.layers.{2,3}.self_attention.linear_proj.weight: \
         rename needs model.layers.{2,3}.self_attn.o_proj.weight, which is not",
        ],
    );
}

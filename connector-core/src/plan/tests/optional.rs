//! Optional blocks, and sources of several types.

use super::super::test_support::{Free, begin, export, nothing, plan};
use super::{NEVER_CALLED, Sizes};
use crate::mapping::Mapping;
use crate::transform::BoxError;
use crate::{Tensor, mapping, ops, param_schema, state_transform};

param_schema! {
    /// Layers with what some checkpoints have and others have not.
    Gated(c: Sizes) {
        axis layer = c.layers;
        axis e = c.experts;
        "norm": [4];
        "d.{layer}" {
            "up": [4, 4];
            "down": [4];
            "bias": [4];
            "e.{e}": [4];
        }
    }
}

const ROWS: Mapping = mapping! {
    "norm" => "norm",
    "m.{layer}" => "d.{layer}" optional {
        ("gate", "up") => "up" via ops::merge_fc1,
        "down" => "down",
        "bias" => "bias" optional,
        "e" => "e.{e}" unstack e,
    },
};

const LAYER: [&str; 4] = ["m.0.gate: 2 4", "m.0.up: 2 4", "m.0.down: 4", "m.0.e: 2 4"];

fn sizes() -> Sizes {
    Sizes::new(2, 2, 0)
}

#[test]
fn a_block_is_there_or_not_for_each_index() {
    let planned = |more: &[&str]| plan::<Gated>(&sizes(), ROWS, &[&["norm: 4"], more].concat());
    let none = planned(&[]);
    assert_eq!(none.makes(), ["norm <- norm"]);
    let all: [&str; 10] = [
        "d.0.bias", "d.0.down", "d.0.e.0", "d.0.e.1", "d.0.up", "d.1.bias", "d.1.down", "d.1.e.0",
        "d.1.e.1", "d.1.up",
    ];
    assert_eq!(none.plan().absent, all);
    let one = planned(&LAYER);
    let want = [
        "d.0.down <- m.0.down",
        "d.0.e.0 <- m.0.e[0]",
        "d.0.e.1 <- m.0.e[1]",
        "d.0.up <- m.0.gate, m.0.up",
        "norm <- norm",
    ];
    assert_eq!(one.makes(), want);
    assert_eq!(one.plan().absent, [&all[..1], &all[5..]].concat());
}

#[test]
fn half_a_block_is_refused_and_what_is_missing_named() {
    let needs = "missing-source d.0.down: rename needs m.0.down, which is not in the checkpoint; \
                 the optional block at ";
    let without_down = ["norm: 4", LAYER[0], LAYER[1], LAYER[3]];
    let refused = plan::<Gated>(&sizes(), ROWS, &without_down).refused();
    begin(&refused, &[needs]);
    assert!(refused[0].contains("is there in part: all of it, or none"), "{refused:?}");
    // What is optional by itself shows that the block is there, and need not be there.
    let only_bias = plan::<Gated>(&sizes(), ROWS, &["norm: 4", "m.0.bias: 4"]).refused();
    let up = "missing-source d.0.up: merge_fc1 needs m.0.gate, which is not in the checkpoint; \
              merge_fc1 needs m.0.up";
    begin(&only_bias, &[needs, "missing-source d.0.e.{0,1}: rename needs m.0.e", up]);
    // Half of a row is half of the block.
    let half_a_row = plan::<Gated>(&sizes(), ROWS, &["norm: 4", LAYER[0]]).refused();
    assert_eq!(half_a_row.len(), 3, "{half_a_row:?}");
}

#[test]
fn an_export_takes_a_block_whole_too() {
    let layer = ["norm: 4", "d.0.up: 4 4", "d.0.down: 4", "d.0.e.{0..2}: 4"];
    let made = export::<Gated>(&sizes(), ROWS, &layer).makes();
    assert_eq!(made.len(), 5);
    assert_eq!(export::<Gated>(&sizes(), ROWS, &layer[..1]).makes(), ["norm <- norm"]);
    begin(
        &export::<Gated>(&sizes(), ROWS, &layer[..3]).refused(),
        &["missing-source m.0.e: rename needs d.0.e.0, which is not in the checkpoint"],
    );
}

#[test]
fn blocks_without_a_schema() {
    const FREE: Mapping = mapping! {
        "norm" => "norm",
        "m.{l}" => "d.{l}" optional { "a" => "a", "b" => "b", "e.{e}" => "e" stack e }
    };
    let planned = |source: &[&str]| plan::<Free>(&nothing(), FREE, source);
    assert_eq!(planned(&["norm: 4"]).makes(), ["norm <- norm"]);
    let whole = ["norm: 4", "m.{0..2}.a: 4", "m.{0..2}.b: 4", "m.{0..2}.e.{0..2}: 4"];
    assert_eq!(planned(&whole).makes().len(), 7);
    let half = ["norm: 4", "m.{0..2}.a: 4", "m.1.b: 4", "m.{0..2}.e.{0..2}: 4"];
    begin(&planned(&half).refused(), &["missing-source d.0.b: rename needs m.0.b, which is not"]);
}

#[state_transform]
fn scaled(_weight: Tensor, _scale: Tensor) -> Result<Tensor, BoxError> {
    Err(NEVER_CALLED.into())
}

#[test]
fn a_function_takes_sources_of_several_types_and_moves_do_not() {
    const FUNCTION: Mapping = mapping! { ("w", "s") => "b" via scaled };
    const CHAIN: Mapping = mapping! { ("w", "s") => "b" via (ops::merge_fc1, ops::transpose) };
    let source = ["w: 4 4 bf16", "s: 4 4 f32"];
    assert_eq!(plan::<Free>(&nothing(), FUNCTION, &source).makes(), ["b <- w, s"]);
    let refused = plan::<Free>(&nothing(), CHAIN, &source).refused();
    let want = "dtype b: w is BF16; s is F32; merge_fc1 moves elements: its sources have one type";
    begin(&refused, &[want]);
}

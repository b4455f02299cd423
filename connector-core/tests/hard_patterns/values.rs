//! 16, 17, 18, 23, 24, 25, 29: what happens to the numbers. The plan says which tensors and in
//! which shapes; that the operations do what they say is tested beside them.

use crate::support::{Free, Planned, begin, has, nothing, plan, plan_with, tensors};
use connector_core::plan::{PlanOptions, Work};
use connector_core::store::Encoding;
use connector_core::transform::{BoxError, Move};
use connector_core::{Mapping, Tensor, mapping, ops, param_schema, state_transform};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    vocab_size: usize,
    rows: usize,
    num_attention_heads: usize,
    num_query_groups: usize,
    kv_channels: usize,
}

fn config() -> Config {
    Config { vocab_size: 6, rows: 8, num_attention_heads: 4, num_query_groups: 2, kv_channels: 2 }
}

fn shape(planned: &Planned, name: &str) -> Vec<usize> {
    let output = planned.plan().outputs.iter().find(|output| output.name == name);
    output.and_then(|output| output.shape.clone()).expect(name)
}

/// The moves that make an output: operations that give the same shapes differ in them.
fn moves<'p>(planned: &'p Planned, name: &str) -> &'p [Move] {
    let plan = planned.plan();
    let output = plan.outputs.iter().find(|output| output.name == name).expect(name);
    match &plan.steps[output.step].work {
        Work::Moves(moves) => moves,
        _ => panic!("{name} is made by a function"),
    }
}

// A copy is an operation; its inverse compares the copies, byte by byte, before it drops one.
#[test]
fn p16_whole_copies() {
    const EXPORT: Mapping = mapping! {
        "d.{l}.linear_qkv.adapter.linear_in" =>
            ("m.{l}.q_proj.lora_A", "m.{l}.k_proj.lora_A", "m.{l}.v_proj.lora_A") via ops::duplicate3,
    };
    has(
        &plan::<Free>(&nothing(), EXPORT, &["d.0.linear_qkv.adapter.linear_in: 2 4"]).makes(),
        &[
            "m.0.k_proj.lora_A <- d.0.linear_qkv.adapter.linear_in",
            "m.0.q_proj.lora_A <- d.0.linear_qkv.adapter.linear_in",
            "m.0.v_proj.lora_A <- d.0.linear_qkv.adapter.linear_in",
        ],
    );
    const IMPORT: Mapping = mapping! {
        ("m.{l}.q_proj.lora_A", "m.{l}.k_proj.lora_A", "m.{l}.v_proj.lora_A") =>
            "d.{l}.linear_qkv.adapter.linear_in" via ops::same3,
    };
    let source = ["m.0.q_proj.lora_A: 2 4", "m.0.k_proj.lora_A: 2 4", "m.0.v_proj.lora_A: 2 4"];
    assert_eq!(
        plan::<Free>(&nothing(), IMPORT, &source).compared(),
        ["m.0.k_proj.lora_A == m.0.q_proj.lora_A", "m.0.v_proj.lora_A == m.0.q_proj.lora_A",]
    );
}

param_schema! {
    /// MLlama: the last 8 rows of the embedding are learnt.
    MLlama(c: Config) {
        "embedding.word_embeddings.weight": [c.vocab_size, 4];
        "embedding.learnable_embedding.weight": [8, 4];
    }
}

// Where to cut follows from the schema's shapes.
#[test]
fn p17_slices() {
    const ROWS: Mapping = mapping! {
        "model.embed_tokens.weight" => (
            "embedding.word_embeddings.weight",
            "embedding.learnable_embedding.weight",
        ) via ops::split2,
    };
    let planned = plan::<MLlama>(&config(), ROWS, &["model.embed_tokens.weight: 14 4"]);
    assert_eq!(shape(&planned, "embedding.word_embeddings.weight"), [6, 4]);
    assert_eq!(shape(&planned, "embedding.learnable_embedding.weight"), [8, 4]);
    let refused = plan::<MLlama>(&config(), ROWS, &["model.embed_tokens.weight: 13 4"]).refused();
    begin(&refused, &["shape embedding.word_embeddings.weight: split2: [13, 4] does not cut into"]);
}

#[state_transform(
    source_key = ("m.{l}.blocks", "m.{l}.scales"),
    target_key = "d.{l}.weight",
)]
fn dequantise(_blocks: Tensor, _scales: Tensor) -> Result<Tensor, BoxError> {
    Err("plans call no functions".into())
}

// Companions are the sources of one rule and so are there together. FP8 and MXFP4 have operations
// that compute; a user's function gets each source in its own type. A tensor that its container calls
// quantised is refused.
#[test]
fn p18_companions() {
    const ROWS: Mapping = mapping! { dequantise };
    let makes = plan::<Free>(&nothing(), ROWS, &["m.0.blocks: 4 u8", "m.0.scales: 1 u8"]).makes();
    assert_eq!(makes, ["d.0.weight <- m.0.blocks, m.0.scales"]);
    let refused = plan::<Free>(&nothing(), ROWS, &["m.{0..2}.blocks: 4 u8", "m.0.scales: 1 u8"]);
    begin(&refused.refused(), &["missing-source d.1.weight: dequantise needs m.1.scales, which"]);
    let makes = plan::<Free>(&nothing(), ROWS, &["m.0.blocks: 4 u8", "m.0.scales: 1 f32"]).makes();
    assert_eq!(makes, ["d.0.weight <- m.0.blocks, m.0.scales"]);

    const FP8: Mapping = mapping! {
        ("m.{l}.weight", "m.{l}.weight_scale_inv") => "d.{l}.weight" via ops::dequantise_fp8,
    };
    let whole = ["m.0.weight: 129 4 f8_e4m3", "m.0.weight_scale_inv: 2 1 f32"];
    let makes = plan::<Free>(&nothing(), FP8, &whole).makes();
    assert_eq!(makes, ["d.0.weight <- m.0.weight, m.0.weight_scale_inv"]);
    let short = ["m.0.weight: 129 4 f8_e4m3", "m.0.weight_scale_inv: 1 1 f32"];
    begin(&plan::<Free>(&nothing(), FP8, &short).refused(), &["shape d.0.weight: dequantise_fp8"]);

    // A weight without its scales is no weight: the scales are left over, or the reader knows.
    const PLAIN: Mapping = mapping! { "m.{l}.weight" => "d.{l}.weight" };
    let fp8 = ["m.0.weight: 128 128 f8_e4m3", "m.0.weight_scale_inv: 1 1"];
    begin(
        &plan::<Free>(&nothing(), PLAIN, &fp8).refused(),
        &["unused-tensor m.0.weight_scale_inv"],
    );
    let mut coded = tensors(&fp8[..1]);
    let scales = "m.0.weight_scale_inv".into();
    coded[0].encoding = Encoding::BlockScaled { scales, block: vec![128, 128] };
    let refused = plan_with::<Free>(&nothing(), PLAIN, coded, &PlanOptions::default()).refused();
    begin(&refused, &["dtype d.0.weight: m.0.weight is quantised"]);
}

param_schema! {
    /// q, k and v by query group.
    Grouped(_c: Config) { "qkv": [16, 4]; "fc1": [8, 4]; "square": [4, 4]; }
}

// The shapes are the same with and without the operation, so no check of shapes can tell. What the
// file has is said by the row, and by the row alone: a family states it, its tests against the
// reference prove it.
#[test]
fn p23_p24_p25_same_shapes_other_numbers() {
    const PLAIN: Mapping = mapping! { "qkv" => "qkv", "fc1" => "fc1", "square" => "square" };
    const LAID_OUT: Mapping = mapping! {
        "qkv" => "qkv" via ops::merge_qkv_concat,
        "fc1" => "fc1" via ops::deinterleave_rows,
        "square" => "square" via ops::transpose,
    };
    let source = ["qkv: 16 4", "fc1: 8 4", "square: 4 4"];
    let (plain, laid_out) =
        (plan::<Grouped>(&config(), PLAIN, &source), plan::<Grouped>(&config(), LAID_OUT, &source));
    assert_eq!(plain.makes(), laid_out.makes());
    for name in ["qkv", "fc1", "square"] {
        assert_ne!(moves(&plain, name), moves(&laid_out, name), "{name}");
    }
    // The plans are not the same, and their hashes say so.
    assert_ne!(plain.plan().hash(&plain.tensors), laid_out.plan().hash(&laid_out.tensors));
}

param_schema! {
    /// An embedding with more rows than the vocabulary.
    Padded(c: Config) { "embedding": [c.rows, 4]; }
}

param_schema! {
    /// And without.
    Pruned(c: Config) { "embed_tokens": [c.vocab_size, 4]; }
}

#[test]
fn p29_padded_rows() {
    const PAD: Mapping = mapping! { "embed_tokens" => "embedding" via ops::pad_rows };
    const PRUNE: Mapping = mapping! { "embedding" => "embed_tokens" via ops::prune_rows };
    const PLAIN: Mapping = mapping! { "embed_tokens" => "embedding" };
    let planned = plan::<Padded>(&config(), PAD, &["embed_tokens: 6 4"]);
    assert_eq!(shape(&planned, "embedding"), [8, 4]);
    assert_eq!(planned.plan().summary(&planned.tensors).bytes_out, 8 * 4 * 4);
    let planned = plan::<Pruned>(&config(), PRUNE, &["embedding: 8 4"]);
    assert_eq!(shape(&planned, "embed_tokens"), [6, 4]);
    // Rows that differ and no rule for it; more rows than there is room for.
    begin(
        &plan::<Padded>(&config(), PLAIN, &["embed_tokens: 6 4"]).refused(),
        &["shape embedding: embedding is [8, 4] under this config; the checkpoint gives [6, 4]"],
    );
    begin(
        &plan::<Padded>(&config(), PAD, &["embed_tokens: 9 4"]).refused(),
        &["shape embedding: pad_rows: [9, 4] has more rows than the 8"],
    );
}

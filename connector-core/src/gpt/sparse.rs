//! Which layers are mixtures of experts.

use super::config::MOST_LAYERS;
use crate::config::{Part, Reading};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DENSE: &str = "mlp_only_layers";
const STEP: &str = "decoder_sparse_step";

/// `mlp_only_layers` and `decoder_sparse_step` as Megatron-core's `moe_layer_freq`: a layer is a
/// mixture if it is not listed and its number, from 1, is a multiple of the step
/// (`Qwen3MoeDecoderLayer`).
pub(super) const SPARSE_LAYERS: Part = Part {
    names: &[DENSE, STEP],
    model: &["moe_layer_freq"],
    read: |reading| {
        let layers = sparse_layers(reading);
        reading.put("moe_layer_freq", layers);
    },
    write: |writing| {
        let layers = writing.get("moe_layer_freq").as_array();
        let dense = layers.into_iter().flatten().enumerate().filter(|(_, kind)| **kind == json!(0));
        let dense: Vec<usize> = dense.map(|(layer, _)| layer).collect();
        writing.put(DENSE, dense);
        writing.put(STEP, 1);
    },
};

/// Null if all layers are mixtures.
fn sparse_layers(reading: &Reading<'_>) -> Value {
    let fields = &reading.fields;
    let dense: BTreeSet<usize> = fields.or(DENSE, BTreeSet::new());
    let step: usize = fields.or(STEP, 1);
    // More make no model, which is found later.
    let layers = reading.size("num_layers").min(MOST_LAYERS);
    if step == 0 {
        fields.malformed(STEP, "is 0; it should be 1 or more");
    }
    if let Some(beyond) = dense.iter().find(|layer| **layer >= layers) {
        fields.refuse(DENSE, format!("lists layer {beyond}, but there are {layers}"));
    }
    let is_sparse = |layer| !dense.contains(&layer) && (layer + 1) % step.max(1) == 0;
    let kinds: Vec<usize> = (0..layers).map(|layer| usize::from(is_sparse(layer))).collect();
    if kinds.contains(&0) { kinds.into() } else { Value::Null }
}

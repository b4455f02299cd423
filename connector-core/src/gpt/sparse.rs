//! Which layers are mixtures of experts.

use super::config::MOST_LAYERS;
use super::layers::per_layer;
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
    let kinds: Vec<bool> = (0..layers).map(is_sparse).collect();
    per_layer(&kinds, true)
}

const LISTED: &str = "moe_layers";
const EVERY: &str = "interleave_moe_layer_step";

/// `moe_layers`, or the last of every `interleave_moe_layer_step`.
pub(super) const MOE_LAYERS: Part = Part {
    names: &[LISTED, EVERY],
    model: &["moe_layer_freq"],
    read: |reading| {
        let fields = &reading.fields;
        let layers = reading.size("num_layers").min(MOST_LAYERS);
        let every = fields.optional::<usize>(EVERY);
        let sparse: BTreeSet<usize> = match fields.optional(LISTED) {
            Some(listed) => listed,
            None => {
                let every = every.unwrap_or(1);
                if every == 0 {
                    fields.malformed(EVERY, "is 0; it should be 1 or more");
                }
                (0..layers).filter(|layer| (layer + 1) % every.max(1) == 0).collect()
            }
        };
        if let Some(beyond) = sparse.iter().find(|layer| **layer >= layers) {
            fields.refuse(LISTED, format!("lists layer {beyond}, but there are {layers}"));
        }
        let kinds: Vec<bool> = (0..layers).map(|layer| sparse.contains(&layer)).collect();
        reading.put("moe_layer_freq", per_layer(&kinds, true));
    },
    write: |writing| {
        let sparse: Vec<usize> = match writing.get("moe_layer_freq").as_array() {
            Some(layers) => {
                let numbered = layers.iter().enumerate().filter(|(_, kind)| **kind != json!(0));
                numbered.map(|(layer, _)| layer).collect()
            }
            None => {
                let layers = writing.get("num_layers").as_u64().unwrap_or(0);
                (0..layers.min(MOST_LAYERS as u64) as usize).collect()
            }
        };
        writing.put(LISTED, sparse);
    },
};

const FIRST: &str = "first_k_dense_replace";

/// `first_k_dense_replace`: how many layers are dense, from the first one on.
pub(super) const FIRST_DENSE: Part = Part {
    names: &[FIRST],
    model: &["moe_layer_freq"],
    read: |reading| {
        let absent = reading.absent(FIRST).and_then(|count| count.value().as_u64());
        let dense: u64 = reading.fields.or(FIRST, absent.unwrap_or(0));
        let layers = reading.size("num_layers").min(MOST_LAYERS);
        if dense > layers as u64 {
            let problem = format!("is {dense}, but there are {layers} layers");
            reading.fields.refuse(FIRST, problem);
        }
        let kinds: Vec<bool> = (0..layers as u64).map(|layer| layer >= dense).collect();
        reading.put("moe_layer_freq", per_layer(&kinds, true));
    },
    write: |writing| {
        let layers = writing.get("moe_layer_freq").as_array().map_or(&[][..], Vec::as_slice);
        let dense = layers.iter().take_while(|kind| **kind == json!(0)).count();
        writing.put(FIRST, dense);
    },
};

//! Attention that sees only so far back.

use super::config::{GptConfig, LONGEST};
use crate::checkpoint::Fields;
use serde_json::{Value, json};

const NAME: &str = "sliding_window";
const SWITCH: &str = "use_sliding_window";
const LAYERS: &str = "layer_types";

/// `sliding_window` as Megatron-core's `window_size`; `absent` is what a file means that does not
/// have the field. Null means that every token sees all before it.
///
/// Transformers' window of n counts the token itself (`kv > q - n` in `sliding_window_overlay`);
/// Megatron's `(left, right)` counts the tokens beside it, so that n is `(n - 1, 0)`. NeMo 2 writes
/// `(n, 0)`, one token more than the model was trained with, and takes n for `seq_length`.
pub fn window(fields: &Fields<'_>, layers: usize, absent: Option<usize>) -> Option<(usize, usize)> {
    let window = match fields.raw(NAME) {
        None => {
            fields.defaulted(NAME, &absent);
            absent
        }
        Some(Value::Null) => {
            fields.neutral(NAME, &[]);
            None
        }
        Some(_) => Some(fields.required(NAME)),
    };
    if let Some(window) = window.filter(|window| !(1..=LONGEST).contains(window)) {
        fields.malformed(NAME, format!("is {window}; it should be from 1 to {LONGEST}"));
    }
    // Other families have this switch; transformers does not look at it in these.
    match fields.raw(SWITCH) {
        Some(Value::Bool(false)) if window.is_some() => {
            let problem = format!("is false, but there is a \"{NAME}\": drop one of the two");
            fields.refuse(SWITCH, problem);
        }
        Some(_) if window.is_some() => fields.neutral(SWITCH, &[json!(true)]),
        _ => {}
    }
    let kind = if window.is_some() { "sliding_attention" } else { "full_attention" };
    layers_of_one_kind(fields, layers, kind);
    window.map(|window| (window.saturating_sub(1), 0))
}

/// Refuses windows, for a family that has none.
pub fn full_attention(fields: &Fields<'_>, layers: usize) {
    if fields.raw(SWITCH) != Some(&json!(false)) {
        fields.neutral(NAME, &[]);
    }
    layers_of_one_kind(fields, layers, "full_attention");
}

/// The other way: `sliding_window` of Megatron-core's `window_size`.
pub fn sliding_window(config: &GptConfig) -> Value {
    config.window_size.map_or(Value::Null, |(left, _)| json!(left.saturating_add(1)))
}

fn layers_of_one_kind(fields: &Fields<'_>, layers: usize, kind: &str) {
    let list = fields.raw(LAYERS).and_then(Value::as_array);
    match list.map(|list| (list.len(), list.iter().find(|other| *other != kind))) {
        Some((count, None)) if count == layers => drop(fields.optional::<Value>(LAYERS)),
        Some((_, Some(other))) => {
            let problem = format!(
                "has a layer that is {other}; this importer knows models all of whose layers are \
                 \"{kind}\""
            );
            fields.refuse(LAYERS, problem);
        }
        Some((count, None)) => {
            fields.refuse(LAYERS, format!("is for {count} layers, but there are {layers}"));
        }
        None => fields.neutral(LAYERS, &[]),
    }
}

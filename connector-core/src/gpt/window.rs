//! Attention that sees only so far back.

use crate::checkpoint::Fields;
use crate::config::{LONGEST, Part, Scalar};
use serde_json::{Value, json};

const NAME: &str = "sliding_window";
const SWITCH: &str = "use_sliding_window";
const LAYERS: &str = "layer_types";
/// Up to which layer there is none, where there are windows.
const MOST_LAYERS: &str = "max_window_layers";

/// Attention through a window, the same in every layer: `sliding_window` as Megatron-core's
/// `window_size`. Null means that every token sees all before it.
///
/// Transformers' window of n counts the token itself (`kv > q - n` in `sliding_window_overlay`);
/// Megatron's `(left, right)` counts the tokens beside it, so that n is `(n - 1, 0)`. NeMo 2 writes
/// `(n, 0)`, one token more than the model was trained with, and takes n for `seq_length`.
pub(super) const WINDOW: Part = Part {
    names: &[NAME, SWITCH, LAYERS],
    model: &["window_size"],
    read: |reading| {
        let absent = match reading.absent(NAME) {
            Some(Scalar::Int(window)) => usize::try_from(window).ok(),
            _ => None,
        };
        let window = window(&reading.fields, reading.size("num_layers"), absent);
        reading.put("window_size", json!(window));
    },
    write: |writing| {
        let left = writing.get("window_size").get(0).and_then(Value::as_u64);
        writing.put(NAME, left.map(|left| left.saturating_add(1)));
    },
};

/// Attention to all tokens before, in a family that may say so: windows are refused.
pub(super) const NO_WINDOW: Part = Part {
    names: &[NAME, SWITCH, LAYERS, MOST_LAYERS],
    model: &[],
    read: |reading| {
        let (fields, layers) = (&reading.fields, reading.size("num_layers"));
        match fields.raw(SWITCH) {
            // Then transformers does not look at the window.
            Some(Value::Bool(false)) => fields.carry(NAME),
            _ => fields.neutral(NAME, &[]),
        }
        fields.neutral(SWITCH, &[json!(false)]);
        fields.carry(MOST_LAYERS);
        layers_of_one_kind(fields, layers, "full_attention");
    },
    write: |_| {},
};

fn window(fields: &Fields<'_>, layers: usize, absent: Option<usize>) -> Option<(usize, usize)> {
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
        _ => fields.carry(SWITCH),
    }
    let kind = if window.is_some() { "sliding_attention" } else { "full_attention" };
    layers_of_one_kind(fields, layers, kind);
    window.map(|window| (window.saturating_sub(1), 0))
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

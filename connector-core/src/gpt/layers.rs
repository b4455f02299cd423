//! What `config.json` says of each layer: which has a window.

use super::config::MOST_LAYERS;
use crate::config::LONGEST;
use crate::config::{Part, Reading};
use serde_json::{Value, json};

const WINDOW: &str = "sliding_window";
const TYPES: &str = "layer_types";
const PATTERN: &str = "sliding_window_pattern";
/// As transformers writes it where `layer_types` is there too.
const PRIVATE_PATTERN: &str = "_sliding_window_pattern";
const LOCAL: &str = "sliding_attention";
const GLOBAL: &str = "full_attention";

/// `sliding_window` with `layer_types` or, in older files, a pattern: every so many layers see all
/// tokens before, the others those in the window. Transformers' window counts the token itself,
/// Megatron's `(left, right)` does not.
pub(super) const WINDOWS: Part = Part {
    names: &[WINDOW, TYPES, PATTERN, PRIVATE_PATTERN],
    model: &["window_size", "window_attn_skip_freq"],
    read: |reading| {
        let absent = reading.absent(WINDOW).and_then(|window| window.value().as_u64());
        let window = match absent {
            Some(absent) => reading.fields.or(WINDOW, absent),
            None => reading.fields.required(WINDOW),
        };
        if !(1..=LONGEST as u64).contains(&window) {
            let problem = format!("is {window}; it should be from 1 to {LONGEST}");
            reading.fields.malformed(WINDOW, problem);
        }
        let local = local_layers(reading);
        reading.put("window_size", json!([window.saturating_sub(1), 0]));
        reading.put("window_attn_skip_freq", per_layer(&local, true));
    },
    write: |writing| {
        let left = writing.get("window_size").get(0).and_then(Value::as_u64);
        writing.put(WINDOW, left.map(|left| left.saturating_add(1)));
        let name = |local: bool| if local { LOCAL } else { GLOBAL };
        let types: Vec<&str> = match writing.get("window_attn_skip_freq").as_array() {
            Some(layers) => layers.iter().map(|kind| name(*kind == json!(1))).collect(),
            None => {
                let layers = writing.get("num_layers").as_u64().unwrap_or(0);
                (0..layers.min(MOST_LAYERS as u64)).map(|_| LOCAL).collect()
            }
        };
        writing.put(TYPES, types);
    },
};

/// The same with layers that rotate where they have a window, and only there; without a window all do.
pub(super) const ROTATED_WINDOWS: Part = Part {
    model: &["window_size", "window_attn_skip_freq", "no_rope_freq"],
    read: |reading| {
        if matches!(reading.fields.raw(WINDOW), Some(Value::Null)) {
            let all = vec![GLOBAL; reading.size("num_layers").min(MOST_LAYERS)];
            reading.fields.neutral(TYPES, &[json!(all)]);
            reading.fields.carry(PATTERN);
            for field in ROTATED_WINDOWS.model {
                reading.put(field, Value::Null);
            }
            return;
        }
        (WINDOWS.read)(reading);
        let rotates = |kind: &Value| json!(1 - kind.as_u64().unwrap_or(0).min(1));
        let local = reading.model["window_attn_skip_freq"].as_array();
        let ropeless = local.map(|local| local.iter().map(rotates).collect::<Vec<_>>());
        reading.put("no_rope_freq", json!(ropeless));
    },
    write: |writing| {
        if !writing.get("window_size").is_null() {
            return (WINDOWS.write)(writing);
        }
        let layers = writing.get("num_layers").as_u64().unwrap_or(0);
        writing.put(WINDOW, Value::Null);
        writing.put(TYPES, vec![GLOBAL; layers.min(MOST_LAYERS as u64) as usize]);
    },
    ..WINDOWS
};

/// A field of Megatron-core's with a 0 or 1 for each layer; null if all have what `usual` says.
pub(super) fn per_layer(layers: &[bool], usual: bool) -> Value {
    match layers.iter().all(|layer| *layer == usual) {
        true => Value::Null,
        false => layers.iter().map(|layer| usize::from(*layer)).collect(),
    }
}

/// Which layers have a window.
fn local_layers(reading: &Reading<'_>) -> Vec<bool> {
    let fields = &reading.fields;
    // More make no model, which is found later.
    let layers = reading.size("num_layers").min(MOST_LAYERS);
    let absent = reading.absent(PATTERN).and_then(|pattern| pattern.value().as_u64());
    let patterns = [PATTERN, PRIVATE_PATTERN];
    let Some(types) = fields.optional::<Vec<String>>(TYPES) else {
        let said = patterns.map(|name| fields.optional::<u64>(name));
        let every = said.into_iter().flatten().next().or(absent).unwrap_or(1);
        if every == 0 {
            fields.malformed(PATTERN, "is 0; it should be 1 or more");
        }
        return (0..layers as u64).map(|layer| (layer + 1) % every.max(1) != 0).collect();
    };
    // The class does not look at them then, and they may be texts, as "LLLG".
    for name in patterns {
        fields.optional::<Value>(name);
    }
    if types.len() != layers {
        fields.refuse(TYPES, format!("is for {} layers, but there are {layers}", types.len()));
    }
    if let Some(other) = types.iter().find(|kind| ![LOCAL, GLOBAL].contains(&kind.as_str())) {
        let problem = format!("has \"{other}\"; this importer knows \"{LOCAL}\", \"{GLOBAL}\"");
        fields.refuse(TYPES, problem);
    }
    types.iter().map(|kind| kind == LOCAL).collect()
}

//! Which layers rotate, and what the others do instead: Llama 4's and SmolLM3's.

use super::config::MOST_LAYERS;
use super::layers::per_layer;
use crate::config::{Part, Reading};
use serde_json::{Value, json};

const ROTATES: &str = "no_rope_layers";
const INTERVAL: &str = "no_rope_layer_interval";
const TYPES: &str = "layer_types";

/// `no_rope_layers`, which has a 1 for a layer that does rotate, or every so many that do not. With it
/// `layer_types`: layers that rotate see their chunk.
pub(super) const CHUNKED_LAYERS: Part = Part {
    names: &[ROTATES, INTERVAL, TYPES],
    read: |reading| {
        let rotates = rotating(reading);
        let kind = |rotates: &bool| if *rotates { "chunked_attention" } else { "full_attention" };
        let fields = &reading.fields;
        if let Some(types) = fields.optional::<Vec<String>>(TYPES)
            && !types.iter().eq(rotates.iter().map(kind))
        {
            let problem = "does not have chunks in the layers that rotate, and only there";
            fields.refuse(TYPES, problem);
        }
        (ROPELESS_LAYERS.read)(reading);
    },
    ..ROPELESS_LAYERS
};

/// The same, of layers that all see as far.
pub(super) const ROPELESS_LAYERS: Part = Part {
    names: &[ROTATES, INTERVAL],
    model: &["no_rope_freq"],
    read: |reading| {
        let rotates = rotating(reading);
        let ropeless: Vec<bool> = rotates.iter().map(|rotates| !rotates).collect();
        reading.put("no_rope_freq", per_layer(&ropeless, false));
    },
    write: |writing| {
        let rotates = match writing.get("no_rope_freq").as_array() {
            Some(layers) => layers.iter().map(|kind| usize::from(*kind == json!(0))).collect(),
            None => {
                let layers = writing.get("num_layers").as_u64().unwrap_or(0);
                vec![1; layers.min(MOST_LAYERS as u64) as usize]
            }
        };
        writing.put(ROTATES, rotates);
    },
};

fn rotating(reading: &Reading<'_>) -> Vec<bool> {
    let fields = &reading.fields;
    // More make no model, which is found later.
    let layers = reading.size("num_layers").min(MOST_LAYERS);
    let interval = fields.optional::<usize>(INTERVAL);
    // An empty list is none, for the class.
    let list = fields.optional::<Vec<usize>>(ROTATES).filter(|list| !list.is_empty());
    let Some(list) = list else {
        let interval = interval.unwrap_or(4);
        if interval == 0 {
            fields.malformed(INTERVAL, "is 0; it should be 1 or more");
        }
        return (0..layers).map(|layer| (layer + 1) % interval.max(1) != 0).collect();
    };
    if list.len() != layers {
        fields.refuse(ROTATES, format!("is for {} layers, but there are {layers}", list.len()));
    }
    if let Some(other) = list.iter().find(|kind| **kind > 1) {
        fields.refuse(ROTATES, format!("has {other}; it should have 1, rotated, or 0, not"));
    }
    list.iter().map(|kind| *kind != 0).collect()
}

const TUNED: &str = "attn_temperature_tuning";
const SCALE: &str = "attn_scale";
const FLOOR: &str = "floor_scale";

/// How queries grow with their position in layers that do not rotate.
pub(super) const TEMPERATURE: Part = Part {
    names: &[TUNED, SCALE, FLOOR],
    model: &["attention_temperature"],
    read: |reading| {
        let fields = &reading.fields;
        // Older files have a number, which counts as yes unless it is 0.
        let tuned = match fields.optional::<Value>(TUNED) {
            None => true,
            Some(Value::Bool(on)) => on,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(other) => {
                fields.malformed(TUNED, format!("is {other}; it should be true or false"));
                false
            }
        };
        let (scale, floor) = (fields.or(SCALE, 0.1), fields.or(FLOOR, 8192.0));
        let temperature = tuned.then(|| json!({"scale": scale, "floor": floor}));
        reading.put("attention_temperature", temperature);
    },
    write: |writing| {
        let temperature = writing.get("attention_temperature");
        writing.put(TUNED, !temperature.is_null());
        for (name, field) in [(SCALE, "scale"), (FLOOR, "floor")] {
            if let Some(value) = temperature.get(field) {
                let value = value.clone();
                writing.put(name, value);
            }
        }
    },
};

//! LongRoPE, of Phi-3 with long sequences and of Phi-4-mini.

use super::rope::{BASE, ROPE, RopeScaling, rope_base, settle_other_spelling};
use crate::config::{Part, Reading};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// LongRoPE's numbers: each frequency is divided by its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Longrope {
    /// What they are divided by in sequences up to `old_context_len`.
    pub short_factor: Vec<f64>,
    /// What they are divided by in longer ones.
    pub long_factor: Vec<f64>,
    /// The sequence length before stretching (`original_max_position_embeddings`).
    pub old_context_len: usize,
    /// How much longer sequences may be, by which queries and keys grow.
    pub scale_factor: f64,
    /// What queries and keys are multiplied by, if it does not follow from `scale_factor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
}

const LENGTH: &str = "original_max_position_embeddings";

/// What the class means by the absence of [`LENGTH`].
const SHORT: usize = 4096;

/// The rotary embedding in files that may stretch it so, the length before beside it or in it.
pub(super) const LONG_ROPE: Part = Part {
    names: &["rope_theta", "rope_scaling", "rope_parameters", LENGTH],
    read: |reading| {
        let fields = &reading.fields;
        let is_long = |object: &&str| {
            let kind = |name| fields.raw(&format!("{object}.{name}")).and_then(Value::as_str);
            matches!(kind("rope_type").or(kind("type")), Some("longrope" | "su"))
        };
        match ["rope_parameters", "rope_scaling"].into_iter().find(is_long) {
            Some(object) => longrope(reading, object),
            None => {
                fields.carry(LENGTH);
                (ROPE.read)(reading);
            }
        }
    },
    write: |writing| {
        (ROPE.write)(writing);
        let scaling = writing.get("rope_scaling");
        if scaling["rope_type"] == "longrope" {
            let length = scaling["old_context_len"].clone();
            if writing.fields.get("rope_parameters").is_some_and(Value::is_object) {
                writing.put("rope_parameters.rope_type", "longrope");
                writing.put(&format!("rope_parameters.{LENGTH}"), length.clone());
            }
            writing.put(LENGTH, length);
        }
    },
    ..ROPE
};

fn longrope(reading: &mut Reading<'_>, object: &str) {
    let default = reading.absent("rope_theta").and_then(|base| base.value().as_f64());
    let fields = &reading.fields;
    let base = rope_base(fields, default.unwrap_or(BASE));
    settle_other_spelling(fields);
    let name = |field: &str| format!("{object}.{field}");
    for kind in [name("rope_type"), name("type")] {
        // "su" is its older name.
        fields.neutral(&kind, &[json!("longrope"), json!("su")]);
    }
    let [short_factor, long_factor] =
        ["short_factor", "long_factor"].map(|list| fields.required::<Vec<f64>>(&name(list)));
    let [inside, beside] = [&*name(LENGTH), LENGTH].map(|place| fields.optional::<usize>(place));
    if let (Some(inside), Some(beside)) = (inside, beside)
        && inside != beside
    {
        fields.refuse(LENGTH, format!("is {beside}, but \"{}\" is {inside}", name(LENGTH)));
    }
    let old_context_len = inside.or(beside).unwrap_or_else(|| {
        fields.defaulted(LENGTH, &SHORT);
        SHORT
    });
    if old_context_len < 2 {
        fields.malformed(LENGTH, format!("is {old_context_len}; it should be 2 or more"));
    }
    let scale_factor = reading.size("seq_length") as f64 / old_context_len.max(1) as f64;
    // Transformers 4 does not look at it.
    fields.neutral(&name("factor"), &[json!(scale_factor)]);
    let attention_factor = fields.optional(&name("attention_factor"));
    let numbers =
        Longrope { short_factor, long_factor, old_context_len, scale_factor, attention_factor };
    reading.put("rotary_base", base);
    reading.put("rope_scaling", json!(RopeScaling::Longrope(numbers)));
}

//! Rotary embeddings: their base and their scaling, in every spelling of `config.json`.

use crate::checkpoint::Fields;
use crate::config::Part;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How rotary frequencies are stretched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum RopeScaling {
    /// All frequencies divided by a factor.
    Linear {
        /// The factor.
        scale_factor: f64,
    },
    /// Llama 3.1: low frequencies divided by a factor, high ones kept, a ramp between.
    Llama3 {
        /// The factor.
        scale_factor: f64,
        /// Wavelengths longer than `old_context_len` over this are stretched.
        low_freq_factor: f64,
        /// Wavelengths shorter than `old_context_len` over this are kept.
        high_freq_factor: f64,
        /// The sequence length before stretching (`original_max_position_embeddings`).
        old_context_len: usize,
    },
}

/// The rotary embedding: `rope_theta` with `rope_scaling`, or `rope_parameters`.
pub(super) const ROPE: Part = Part {
    names: &["rope_theta", "rope_scaling", "rope_parameters"],
    model: &["rotary_base", "rope_scaling"],
    read: |reading| {
        let default = reading.absent("rope_theta").and_then(|base| base.value().as_f64());
        let (base, scaling) = rope(&reading.fields, default.unwrap_or(BASE));
        reading.put("rotary_base", base);
        reading.put("rope_scaling", json!(scaling));
    },
    write: |writing| {
        let base = writing.get("rotary_base").clone();
        // As the model's config has it, or it could not have been read.
        let scaling = serde_json::from_value(writing.get("rope_scaling").clone()).ok().flatten();
        if writing.spelling.has("rope_parameters") {
            writing.put("rope_parameters", rope_parameters(base, &scaling));
        } else {
            writing.put("rope_theta", base);
            writing.put("rope_scaling", rope_scaling(&scaling));
        }
    },
};

/// The base of a file that does not say it, in most families.
const BASE: f64 = 10_000.0;

/// The rotary embedding's base and scaling, from either spelling: `rope_theta` and `rope_scaling`
/// (transformers 4), or `rope_parameters` (transformers 5, which also takes `rope_scaling` for it).
pub fn rope(fields: &Fields<'_>, default_base: f64) -> (f64, Option<RopeScaling>) {
    let base = rope_base(fields, default_base);
    settle_other_spelling(fields);
    let in_use = |name: &&str| fields.raw(name).is_some_and(|value| !value.is_null());
    let Some(object) = ["rope_parameters", "rope_scaling"].into_iter().find(in_use) else {
        fields.neutral("rope_scaling", &[]);
        return (base, None);
    };
    let Some(all) = fields.raw(object).and_then(Value::as_object) else {
        fields.malformed(object, "is not an object");
        return (base, None);
    };
    let name = |field: &str| format!("{object}.{field}");
    // `type` is the older name; a file with both is for old and new readers.
    let kind: Option<String> = fields.optional(&name("rope_type"));
    let old_kind: Option<String> = fields.optional(&name("type"));
    if let (Some(kind), Some(old)) = (&kind, &old_kind)
        && kind != old
    {
        fields.refuse(&name("type"), format!("is \"{old}\", but \"rope_type\" is \"{kind}\""));
    }
    let positive = |field: &str| {
        let value = fields.required::<f64>(&name(field));
        if !(value > 0.0 && value.is_finite()) {
            fields.malformed(&name(field), format!("is {value}; it should be above 0"));
        }
        value
    };
    let scaling = match kind.or(old_kind).as_deref() {
        None | Some("default") => None,
        Some("linear") => {
            // Kept by conversions that know it; the computation does not.
            fields.optional::<Value>(&name("original_max_position_embeddings"));
            Some(RopeScaling::Linear { scale_factor: positive("factor") })
        }
        Some("llama3") => {
            let (low, high) = (positive("low_freq_factor"), positive("high_freq_factor"));
            if low >= high {
                let problem = format!("is {low}; it should be below high_freq_factor, {high}");
                fields.malformed(&name("low_freq_factor"), problem);
            }
            Some(RopeScaling::Llama3 {
                scale_factor: positive("factor"),
                low_freq_factor: low,
                high_freq_factor: high,
                old_context_len: fields.required(&name("original_max_position_embeddings")),
            })
        }
        Some(other) => {
            let problem =
                format!("is \"{other}\"; this importer knows \"llama3\", \"linear\", \"default\"");
            fields.refuse(&name("rope_type"), problem);
            // What the other fields mean, only that kind says.
            fields.carry(object);
            return (base, None);
        }
    };
    if all.is_empty() {
        fields.carry(object);
    }
    // Any field beside those of the kind is one that this kind does not have.
    for field in all.keys().filter(|field| !fields.is_read(&name(field))) {
        fields.neutral(&name(field), &[json!(1.0), json!(1)]);
    }
    (base, scaling)
}

/// `rope_theta`, which may stand in three places and must be the same in all of them.
fn rope_base(fields: &Fields<'_>, default_base: f64) -> f64 {
    const PLACES: [&str; 3] =
        ["rope_parameters.rope_theta", "rope_scaling.rope_theta", "rope_theta"];
    let found = PLACES.map(|place| (place, fields.optional::<f64>(place)));
    let mut found = found.into_iter().filter_map(|(place, base)| Some((place, base?)));
    let Some((first, base)) = found.next() else {
        fields.defaulted("rope_theta", &default_base);
        return default_base;
    };
    for (place, other) in found.filter(|(_, other)| *other != base) {
        fields.refuse(place, format!("is {other}, but \"{first}\" is {base}"));
    }
    if !(base > 0.0 && base.is_finite()) {
        fields.malformed(first, format!("is {base}; it should be above 0"));
    }
    base
}

/// A config may have both spellings, for old and new readers, as long as they say the same.
fn settle_other_spelling(fields: &Fields<'_>) {
    let Some(new) = fields.raw("rope_parameters").and_then(Value::as_object) else { return };
    let old = fields.raw("rope_scaling").and_then(Value::as_object);
    for field in old.into_iter().flat_map(|old| old.keys()) {
        // `type` is the older name.
        let same = new.get(if field == "type" { "rope_type" } else { field });
        fields
            .neutral(&format!("rope_scaling.{field}"), same.map_or(&[][..], std::slice::from_ref));
    }
}

/// `rope_scaling` as transformers 4 reads it; every transformers reads this spelling.
fn rope_scaling(scaling: &Option<RopeScaling>) -> Value {
    match scaling {
        None => Value::Null,
        Some(RopeScaling::Linear { scale_factor }) => {
            json!({"rope_type": "linear", "factor": scale_factor})
        }
        Some(RopeScaling::Llama3 {
            scale_factor,
            low_freq_factor,
            high_freq_factor,
            old_context_len,
        }) => {
            json!({
                "rope_type": "llama3",
                "factor": scale_factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": old_context_len,
            })
        }
    }
}

/// `rope_parameters` as transformers 5 writes it: the base and the scaling in one.
fn rope_parameters(base: Value, scaling: &Option<RopeScaling>) -> Value {
    let mut fields = match scaling {
        None => json!({"rope_type": "default"}),
        some => rope_scaling(some),
    };
    fields["rope_theta"] = base;
    fields
}

//! Rotary embeddings: their base and their scaling, in every spelling of `config.json`.

use super::longrope::Longrope;
use super::partial::SHARE;
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
    /// YaRN: low frequencies divided by a factor, high ones kept, a ramp between; and all of queries
    /// and keys multiplied by what follows from the factor.
    Yarn(Yarn),
    /// LongRoPE: each frequency divided by its own number, another in long sequences; and all of
    /// queries and keys multiplied by what follows from how much longer they may be.
    Longrope(Longrope),
}

/// YaRN's numbers, as transformers names them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Yarn {
    /// The factor.
    pub scale_factor: f64,
    /// The sequence length before stretching (`original_max_position_embeddings`).
    pub old_context_len: usize,
    /// What turns so often in that length, or more often, is kept.
    pub beta_fast: f64,
    /// What turns so often, or less often, is divided.
    pub beta_slow: f64,
    /// What queries and keys are multiplied by, if it does not follow from the factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
    /// How that follows: with `mscale_all_dim`, as a quotient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mscale: Option<f64>,
    /// See `mscale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mscale_all_dim: Option<f64>,
    /// Whether the ramp begins and ends at whole numbers.
    pub truncate: bool,
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
            let mut fields = rope_parameters(base, &scaling);
            // As transformers 5 has it, in the same object.
            if let Some(share) = writing.fields.shift_remove(SHARE) {
                fields[SHARE] = share;
            }
            writing.put("rope_parameters", fields);
        } else {
            writing.put("rope_theta", base);
            writing.put("rope_scaling", rope_scaling(&scaling));
        }
    },
};

/// [`ROPE`] of a class that stretches where the file does not say whether it does.
pub(super) const SAID: Part = Part {
    read: |reading| {
        let fields = &reading.fields;
        if ["rope_parameters", "rope_scaling"].iter().all(|name| fields.raw(name).is_none()) {
            fields.required::<Value>("rope_scaling");
        }
        (ROPE.read)(reading);
    },
    ..ROPE
};

/// [`SAID`], which is YaRN, with `llama_4_scaling_beta`: how queries grow after every so many tokens, as
/// many as in the sequences before stretching.
pub(super) const TEMPERED: Part = Part {
    model: &["rotary_base", "rope_scaling", "attention_temperature"],
    read: |reading| {
        let fields = &reading.fields;
        for object in ["rope_parameters", "rope_scaling"] {
            // Kept beside it; the computation does not look at it.
            fields.optional::<Value>(&format!("{object}.max_position_embeddings"));
        }
        let beta: Option<f64> = ["rope_parameters", "rope_scaling"]
            .iter()
            .find_map(|object| fields.optional(&format!("{object}.{BETA}")));
        (SAID.read)(reading);
        let scaling = &reading.model["rope_scaling"];
        let floor = scaling.get("old_context_len").filter(|_| scaling["rope_type"] == "yarn");
        let (Some(beta), Some(floor)) = (beta, floor.and_then(Value::as_f64)) else {
            let problem = "are needed together; this importer knows no other scaling";
            reading.fields.refuse("rope_parameters", format!("YaRN and \"{BETA}\" {problem}"));
            return;
        };
        let grown =
            (beta != 0.0).then(|| json!({"scale": beta, "floor": floor, "everywhere": true}));
        reading.put("attention_temperature", grown);
    },
    write: |writing| {
        (ROPE.write)(writing);
        let beta = writing.get("attention_temperature").get("scale").cloned().unwrap_or(json!(0.0));
        for object in ["rope_parameters", "rope_scaling"] {
            if writing.fields.get(object).is_some_and(Value::is_object) {
                writing.put(&format!("{object}.{BETA}"), beta.clone());
            }
        }
    },
    ..SAID
};

const BETA: &str = "llama_4_scaling_beta";

/// Two rotary embeddings, one for layers with a window: `rope_theta` and `rope_scaling` with
/// `rope_local_base_freq`, or `rope_parameters` of an object for each kind of layer.
pub(super) const TWO: Part = Part {
    names: &["rope_theta", "rope_scaling", "rope_parameters", LOCAL_BASE],
    model: &["rotary_base", "rope_scaling", "rotary_base_local"],
    read: |reading| {
        let absent = |name| reading.absent(name).and_then(|base| base.value().as_f64());
        let [global, local] = ["rope_theta", LOCAL_BASE].map(|name| absent(name).unwrap_or(BASE));
        let fields = &reading.fields;
        let is_new = fields.raw(GLOBAL).is_some() || fields.raw(LOCAL).is_some();
        let (base, scaling) = match is_new {
            false => rope(fields, global),
            true => {
                only_the_new(fields);
                let base = base_in(fields, &[&format!("{GLOBAL}.rope_theta")], global);
                (base, scaling(fields, GLOBAL))
            }
        };
        let local_base = base_in(fields, &[LOCAL_BASE, &format!("{LOCAL}.rope_theta")], local);
        if is_new && scaling_of_local(fields).is_some() {
            let problem =
                "stretches the layers with a window, and this importer knows those without";
            fields.refuse(&format!("{LOCAL}.rope_type"), problem);
        }
        reading.put("rotary_base", base);
        reading.put("rope_scaling", json!(scaling));
        reading.put("rotary_base_local", local_base);
    },
    write: |writing| {
        let base = writing.get("rotary_base").clone();
        let local = writing.get("rotary_base_local").clone();
        let scaling = serde_json::from_value(writing.get("rope_scaling").clone()).ok().flatten();
        if writing.spelling.has("rope_parameters") {
            let fields = json!({
                "full_attention": rope_parameters(base, &scaling),
                "sliding_attention": rope_parameters(local, &None),
            });
            writing.put("rope_parameters", fields);
        } else {
            writing.put("rope_theta", base);
            writing.put("rope_scaling", rope_scaling(&scaling));
            writing.put(LOCAL_BASE, local);
        }
    },
};

const LOCAL_BASE: &str = "rope_local_base_freq";
const GLOBAL: &str = "rope_parameters.full_attention";
const LOCAL: &str = "rope_parameters.sliding_attention";

/// The scaling of layers with a window, as far as it is said.
fn scaling_of_local(fields: &Fields<'_>) -> Option<RopeScaling> {
    fields.raw(LOCAL).and_then(|_| scaling(fields, LOCAL))
}

/// Refuses what a file says beside a rotary embedding for each kind of layer.
fn only_the_new(fields: &Fields<'_>) {
    for name in ["rope_theta", "rope_scaling"] {
        if fields.raw(name).is_some_and(|value| !value.is_null()) {
            fields.refuse(name, "is there, and \"rope_parameters\" says it for each kind of layer");
        }
        fields.carry(name);
    }
    let all = fields.raw("rope_parameters").and_then(Value::as_object);
    for kind in all.into_iter().flat_map(|all| all.keys()) {
        let place = format!("rope_parameters.{kind}");
        if ![GLOBAL, LOCAL].contains(&place.as_str()) {
            fields.neutral(&place, &[]);
        }
    }
}

/// The base of a file that does not say it, in most families.
pub(super) const BASE: f64 = 10_000.0;

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
    (base, scaling(fields, object))
}

/// The scaling that the fields of an object say.
pub(super) fn scaling(fields: &Fields<'_>, object: &str) -> Option<RopeScaling> {
    let Some(all) = fields.raw(object).and_then(Value::as_object) else {
        fields.malformed(object, "is not an object");
        return None;
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
    let above_0 = |field: &str, value: f64| {
        if !(value > 0.0 && value.is_finite()) {
            fields.malformed(&name(field), format!("is {value}; it should be above 0"));
        }
        value
    };
    let positive = |field: &str| above_0(field, fields.required::<f64>(&name(field)));
    let optional =
        |field: &str| fields.optional::<f64>(&name(field)).map(|value| above_0(field, value));
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
        Some("yarn") => Some(RopeScaling::Yarn(Yarn {
            scale_factor: positive("factor"),
            old_context_len: fields.required(&name("original_max_position_embeddings")),
            beta_fast: optional("beta_fast").unwrap_or(32.0),
            beta_slow: optional("beta_slow").unwrap_or(1.0),
            attention_factor: optional("attention_factor"),
            mscale: optional("mscale"),
            mscale_all_dim: optional("mscale_all_dim"),
            truncate: fields.optional(&name("truncate")).unwrap_or(true),
        })),
        Some(other) => {
            let problem = format!(
                "is \"{other}\"; this importer knows \"llama3\", \"linear\", \"yarn\", \"default\""
            );
            fields.refuse(&name("rope_type"), problem);
            // What the other fields mean, only that kind says.
            fields.carry(object);
            return None;
        }
    };
    if all.is_empty() {
        fields.carry(object);
    }
    // Any field beside those of the kind is one that this kind does not have.
    for field in all.keys().filter(|field| !fields.is_read(&name(field))) {
        fields.neutral(&name(field), &[json!(1.0), json!(1)]);
    }
    scaling
}

/// `rope_theta`, which may stand in three places and must be the same in all of them.
pub(super) fn rope_base(fields: &Fields<'_>, default_base: f64) -> f64 {
    let places = ["rope_parameters.rope_theta", "rope_scaling.rope_theta", "rope_theta"];
    base_in(fields, &places, default_base)
}

/// A base, which may stand in several places and must be the same in all of them.
fn base_in(fields: &Fields<'_>, places: &[&str], default_base: f64) -> f64 {
    let found = places.iter().map(|place| (*place, fields.optional::<f64>(place)));
    let mut found = found.filter_map(|(place, base)| Some((place, base?)));
    let Some((first, base)) = found.next() else {
        fields.defaulted(places[places.len() - 1], &default_base);
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
pub(super) fn settle_other_spelling(fields: &Fields<'_>) {
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
        Some(RopeScaling::Yarn(yarn)) => {
            let mut fields = json!({
                "rope_type": "yarn",
                "factor": yarn.scale_factor,
                "original_max_position_embeddings": yarn.old_context_len,
                "beta_fast": yarn.beta_fast,
                "beta_slow": yarn.beta_slow,
                "truncate": yarn.truncate,
            });
            let Yarn { attention_factor, mscale, mscale_all_dim, .. } = yarn;
            for (name, value) in [
                ("attention_factor", attention_factor),
                ("mscale", mscale),
                ("mscale_all_dim", mscale_all_dim),
            ] {
                if let Some(value) = value {
                    fields[name] = json!(value);
                }
            }
            fields
        }
        // Transformers 4 wants these three, and the length beside them.
        Some(RopeScaling::Longrope(long)) => {
            let mut fields = json!({
                "type": "longrope",
                "short_factor": long.short_factor,
                "long_factor": long.long_factor,
            });
            if let Some(factor) = long.attention_factor {
                fields["attention_factor"] = json!(factor);
            }
            fields
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

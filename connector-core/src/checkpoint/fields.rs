use crate::base::{Advice, Finding, FindingKind, Refusal};
use crate::checkpoint::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reads fields of a format's config and keeps account: a field that is used, one that is absent
/// and takes its default, one that is carried along, one that is not understood.
///
/// A missing or malformed field is recorded and a stand-in returned, so that one look reports all
/// of them; [`Fields::finish`] then fails.
///
/// ```no_run
/// # use connector_core::checkpoint::Checkpoint;
/// # fn config(source: &Checkpoint) -> connector_core::Result<(usize, f64)> {
/// let fields = source.fields();
/// let layers = fields.required("num_hidden_layers");
/// let theta = fields.first(&["rope_parameters.rope_theta", "rope_theta"]).unwrap_or(10_000.0);
/// fields.neutral("sliding_window", &[serde_json::Value::Null]);
/// fields.finish()?;
/// # Ok((layers, theta)) }
/// ```
pub struct Fields<'a> {
    config: &'a Value,
    log: &'a Mutex<FieldLog>,
}

/// What became of the fields of a config.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct FieldReport {
    /// Fields that the model's config was made from; of an export, that were made from it.
    pub consumed: BTreeMap<String, Value>,
    /// Fields that were absent, and the value that stands for them.
    pub defaulted: BTreeMap<String, Value>,
    /// Fields that change nothing in what the model computes; the original file keeps them.
    pub carried: BTreeMap<String, Value>,
    /// Of an export: fields in which `model.yaml` differs from the original file, and wins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
pub(super) struct FieldLog {
    pub findings: Vec<Finding>,
    pub report: FieldReport,
    /// Fields that no importer needs to know, on the user's word.
    pub carry: Vec<String>,
    /// Whether a field is missing without which there is no config.
    failed: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(config: &'a Value, log: &'a Mutex<FieldLog>) -> Self {
        Fields { config, log }
    }

    /// The value of a field as it is; dots lead into objects, `rope_parameters.rope_theta`.
    pub fn raw(&self, name: &str) -> Option<&'a Value> {
        name.split('.').try_fold(self.config, |value, part| value.get(part))
    }

    /// A field that must be there. A stand-in, the type's default, if it is not: mind divisions.
    pub fn required<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        if self.raw(name).is_none_or(Value::is_null) {
            let finding =
                Finding::new(FindingKind::Config, "config.json", format!("\"{name}\" is missing"));
            let mut log = self.log();
            log.findings.push(finding);
            log.failed = true;
            return T::default();
        }
        self.optional(name).unwrap_or_default()
    }

    /// A field that may be absent or null.
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let value = self.raw(name).filter(|value| !value.is_null())?;
        match serde_json::from_value(value.clone()) {
            Ok(read) => {
                self.log().report.consumed.insert(name.into(), value.clone());
                Some(read)
            }
            Err(error) => {
                let problem = format!("\"{name}\" is {}: {error}", shown(value));
                let mut log = self.log();
                log.findings.push(Finding::new(FindingKind::Config, "config.json", problem));
                log.failed = true;
                None
            }
        }
    }

    /// The first of several spellings of a field that is there.
    pub fn first<T: DeserializeOwned>(&self, names: &[&str]) -> Option<T> {
        names.iter().find_map(|name| self.optional(name))
    }

    /// A field that may be absent, and then means `default`.
    pub fn or<T: DeserializeOwned + Serialize>(&self, name: &str, default: T) -> T {
        self.optional(name).unwrap_or_else(|| {
            self.defaulted(name, &default);
            default
        })
    }

    /// Records that an absent field was taken as `value`.
    pub fn defaulted(&self, name: &str, value: &impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.log().report.defaulted.insert(name.into(), value);
    }

    /// A field that would change what the model computes, and that this connector can only take
    /// where it has one of the values `neutral` (absent always is neutral).
    pub fn neutral(&self, name: &str, neutral: &[Value]) {
        let Some(value) = self.raw(name) else { return };
        if value.is_null() || neutral.contains(value) {
            self.log().report.consumed.insert(name.into(), value.clone());
            return;
        }
        let known: Vec<String> = neutral.iter().map(Value::to_string).collect();
        let known = if known.is_empty() { "null".into() } else { known.join(", ") };
        self.refuse(name, format!("is {}; this importer knows {known}", shown(value)));
    }

    /// Records that a field has a value which this connector does not translate.
    pub fn refuse(&self, name: &str, problem: impl std::fmt::Display) {
        let finding =
            Finding::new(FindingKind::Config, "config.json", format!("\"{name}\" {problem}"))
                .note("a model converted without it would compute something else");
        self.log().findings.push(finding);
    }

    /// Records that a field has a value with which there is no model.
    pub fn malformed(&self, name: &str, problem: impl std::fmt::Display) {
        let mut log = self.log();
        log.failed = true;
        // Of a field that is missing or of another type, its stand-in's value is no news.
        let known = format!("\"{name}\" ");
        if !log.findings.iter().any(|finding| finding.problem.starts_with(&known)) {
            let problem = format!("{known}{problem}");
            log.findings.push(Finding::new(FindingKind::Config, "config.json", problem));
        }
    }

    /// Whether the field was read.
    pub fn is_read(&self, name: &str) -> bool {
        self.log().report.consumed.contains_key(name)
    }

    /// Settles a field that has no effect on what the model computes, if it is there and was not read.
    pub fn carry(&self, name: &str) {
        if let Some(value) = self.raw(name)
            && !self.is_settled(name)
        {
            self.log().report.carried.insert(name.into(), value.clone());
        }
    }

    /// Settles every field that was not read: null is carried, as are tools' own notes, whose names
    /// begin with `_`, and fields that the user wants to; any other is a finding. A field that nobody knows may change what the model computes.
    pub fn refuse_rest(&self) {
        for (name, value) in self.config.as_object().into_iter().flatten() {
            if self.is_settled(name) {
                continue;
            }
            if value.is_null() || name.starts_with('_') || self.log().carry.contains(name) {
                self.carry(name);
                continue;
            }
            let value = shown(value);
            self.refuse(name, format!("is {value}, and this importer does not know the field"));
            if let Some(finding) = self.log().findings.last_mut() {
                finding.advice.push(Advice::CarryField);
            }
        }
    }

    /// Settles every field that was not read: those in `harmless`, those that are switched off, and
    /// those whose names say that they are about the tokenizer, training or the file itself are
    /// carried; any other is a finding.
    pub fn settle_rest(&self, harmless: &[&str]) {
        let Some(config) = self.config.as_object() else { return };
        for (name, value) in config {
            if self.is_settled(name) {
                continue;
            }
            if harmless.contains(&name.as_str()) || is_off(name, value) || !changes_behaviour(name)
            {
                self.log().report.carried.insert(name.clone(), value.clone());
            } else {
                let value = shown(value);
                self.refuse(name, format!("is {value}, and this importer does not know the field"));
                if let Some(finding) = self.log().findings.last_mut() {
                    let note =
                        "if it changes nothing, the importer may say so: `fields.settle_rest`";
                    finding.notes.push(note.into());
                }
            }
        }
    }

    /// Whether the field, or one inside it, was read or refused.
    fn is_settled(&self, name: &str) -> bool {
        let log = self.log();
        let inside = format!("{name}.");
        let mut read = log.report.consumed.keys().chain(log.report.carried.keys());
        let refused = [format!("\"{name}\""), format!("\"{inside}")];
        read.any(|read| read == name || read.starts_with(&inside))
            || log.findings.iter().any(|f| refused.iter().any(|r| f.problem.starts_with(r)))
    }

    /// Fails if a field is missing or malformed; what else was recorded goes into the plan's
    /// findings.
    ///
    /// # Errors
    /// [`Refused`](crate::checkpoint::Error::Refused) with everything recorded so far.
    pub fn finish(&self) -> Result<()> {
        let log = self.log();
        if log.failed { Err(Refusal::new(log.findings.clone()).into()) } else { Ok(()) }
    }

    fn log(&self) -> MutexGuard<'a, FieldLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value for a message: a file may hold megabytes of it.
pub(crate) fn shown(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether a field of this name with this value switches nothing on.
pub(crate) fn is_off(name: &str, value: &Value) -> bool {
    // What a Llama has, so that `false` is the news.
    const ON: [&str; 6] =
        ["is_causal", "causal", "use_rope", "use_rotary_embeddings", "gated_mlp", "use_rms_norm"];
    // What multiplies, so that 1 is off and 0 is not.
    const FACTORS: [&str; 4] = ["multiplier", "scale", "scaling", "factor"];
    let factor = FACTORS.iter().any(|word| name.ends_with(word));
    match value {
        Value::Null => true,
        Value::Bool(on) => *on == ON.contains(&name),
        Value::Number(number) => number.as_f64() == Some(if factor { 1.0 } else { 0.0 }),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Whether a field of this name is about what a model computes. Configs carry much that is not:
/// ids of special tokens, defaults of training and generation, notes of the tool that wrote them.
/// A name nobody has seen is judged by its words.
pub(crate) fn changes_behaviour(name: &str) -> bool {
    // Parts of names that say so, whatever else is in the name.
    const HARMLESS: [&str; 20] = [
        "token_id",
        "tokenizer",
        "dropout",
        "pdrop",
        "version",
        "dtype",
        "use_cache",
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "label",
        "problem_type",
        "name_or_path",
        "implementation",
        "flash_att",
        "logits_to_keep",
        "checkpointing",
        "initializer",
        "pretraining",
    ];
    const BEHAVIOUR: [&str; 66] = [
        "act",
        "activation",
        "alibi",
        "attention",
        "attn",
        "audio",
        "bias",
        "bidirectional",
        "block",
        "blocks",
        "cap",
        "causal",
        "clip",
        "compression",
        "conv",
        "embedding",
        "embeddings",
        "expert",
        "experts",
        "factor",
        "gate",
        "gated",
        "head",
        "heads",
        "hidden",
        "hyper",
        "kv",
        "layer",
        "layernorm",
        "layers",
        "limit",
        "logit",
        "logits",
        "lora",
        "mlp",
        "moe",
        "mtp",
        "multiplier",
        "mup",
        "norm",
        "parallel",
        "position",
        "prediction",
        "prefix",
        "qk",
        "quant",
        "quantization",
        "query",
        "residual",
        "rms",
        "rope",
        "rotary",
        "router",
        "scale",
        "scaling",
        "shared",
        "shift",
        "sliding",
        "softcap",
        "softcapping",
        "softmax",
        "swiglu",
        "temperature",
        "text",
        "vision",
        "window",
    ];
    if name.starts_with('_') || HARMLESS.iter().any(|part| name.contains(part)) {
        return false;
    }
    let mut words = name.split(['_', '-', '.']);
    words.any(|word| BEHAVIOUR.contains(&word.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Error;
    use serde_json::json;

    #[test]
    fn names_tell_whether_a_field_changes_what_a_model_computes() {
        for (name, want) in [
            ("attention_multiplier", true),
            ("final_logit_softcapping", true),
            ("use_qk_norm", true),
            ("quantization_config", true),
            ("sliding_window", true),
            ("layer_types", true),
            ("residual_scale", true),
            ("bos_token_id", false),
            ("attention_dropout", false),
            ("transformers_version", false),
            ("_attn_implementation", false),
            ("my_company_note", false),
            ("output_multiplier", true),
            ("attn_output_gate", true),
            ("token_shift", true),
            ("final_softcap", true),
            ("swiglu_limit", true),
            ("text_config", true),
            ("attn_implementation", false),
            ("attn_pdrop", false),
            ("num_logits_to_keep", false),
        ] {
            assert_eq!(changes_behaviour(name), want, "{name}");
        }
    }

    #[test]
    fn what_is_off_changes_nothing() {
        for (name, value, want) in [
            ("num_experts", json!(0), true),
            ("pruned_heads", json!({}), true),
            ("logit_scale", json!(1.0), true),
            ("logit_scale", json!(0.0), false),
            ("residual_multiplier", json!(0.5), false),
            ("use_qk_norm", json!(false), true),
            ("use_qk_norm", json!(true), false),
            ("use_rope", json!(false), false),
            ("is_causal", json!(true), true),
        ] {
            assert_eq!(is_off(name, &value), want, "{name} {value}");
        }
    }

    #[test]
    fn all_missing_fields_come_in_one_error() {
        let config = json!({"a": 1, "b": null, "c": "x"});
        let log = Mutex::new(FieldLog::default());
        let fields = Fields::new(&config, &log);
        assert_eq!(fields.required::<usize>("a"), 1);
        assert_eq!(fields.required::<usize>("b"), 0);
        assert_eq!(fields.required::<usize>("c"), 0);
        assert_eq!(fields.required::<usize>("d.e"), 0);
        let Err(Error::Refused(refusal)) = fields.finish() else { panic!("it must fail") };
        let problems: Vec<_> = refusal.findings.iter().map(|f| f.problem.as_str()).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(problems[0], "\"b\" is missing");
        assert!(problems[1].starts_with("\"c\" is \"x\""), "{}", problems[1]);
        assert_eq!(problems[2], "\"d.e\" is missing");
    }

    #[test]
    fn what_is_not_read_is_carried_or_refused() {
        let config = json!({"x_scale": 2.0, "y_scale": null, "bos_token_id": 1, "known_scale": 3});
        let log = Mutex::new(FieldLog::default());
        let fields = Fields::new(&config, &log);
        fields.settle_rest(&["known_scale"]);
        let log = log.lock().unwrap();
        assert_eq!(log.findings.len(), 1);
        assert!(log.findings[0].problem.starts_with("\"x_scale\" is 2.0"));
        assert_eq!(log.report.carried.len(), 3);
    }
}

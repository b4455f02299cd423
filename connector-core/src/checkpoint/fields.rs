use super::without_effect::WITHOUT_EFFECT;
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
/// # use connector_core::checkpoint::HfCheckpoint;
/// # fn config(source: &HfCheckpoint) -> connector_core::Result<(usize, f64)> {
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
        let whole = self.config.get(name);
        whole.or_else(|| name.split('.').try_fold(self.config, |value, part| value.get(part)))
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

    /// Settles every field that was not read, those of nested objects one by one: null is carried, as
    /// are fields that the user wants to; any other is a finding. A field that nobody knows may
    /// change what the model computes.
    pub fn refuse_rest(&self) {
        self.refuse_rest_of("", self.config);
    }

    fn refuse_rest_of(&self, prefix: &str, object: &Value) {
        for (name, value) in object.as_object().into_iter().flatten() {
            let name = format!("{prefix}{name}");
            if self.is_settled(&name) {
                continue;
            }
            if value.is_null() || self.log().carry.contains(&name) {
                self.carry(&name);
            } else if value.is_object() && self.is_settled_inside(&name) {
                self.refuse_rest_of(&format!("{name}."), value);
            } else {
                let value = shown(value);
                self.refuse(
                    &name,
                    format!("is {value}, and this importer does not know the field"),
                );
                if let Some(finding) = self.log().findings.last_mut() {
                    finding.advice.push(Advice::CarryField);
                }
            }
        }
    }

    /// Settles every field that was not read: those that `carried` lists and those that have no effect
    /// in any model, [`WITHOUT_EFFECT`], are carried, and so is `model_type`, which says as the
    /// architecture does whom the file is for; for the others see [`refuse_rest`](Self::refuse_rest).
    pub fn settle_rest(&self, carried: &[&str]) {
        let known = carried.iter().chain(WITHOUT_EFFECT).chain(&["model_type"]);
        known.for_each(|name| self.carry(name));
        self.refuse_rest();
    }

    /// Whether the field was read, carried or refused.
    pub(crate) fn is_settled(&self, name: &str) -> bool {
        let (log, refused) = (self.log(), format!("\"{name}\""));
        let FieldReport { consumed, carried, .. } = &log.report;
        consumed.contains_key(name)
            || carried.contains_key(name)
            || log.findings.iter().any(|finding| finding.problem.starts_with(&refused))
    }

    /// Whether a field inside this one was read or refused.
    fn is_settled_inside(&self, name: &str) -> bool {
        let (log, inside) = (self.log(), format!("{name}."));
        let FieldReport { consumed, carried, .. } = &log.report;
        let refused = format!("\"{inside}");
        consumed.keys().chain(carried.keys()).any(|read| read.starts_with(&inside))
            || log.findings.iter().any(|finding| finding.problem.starts_with(&refused))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Error;
    use serde_json::json;

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
        let config = json!({
            "x_scale": 2.0, "y_scale": null, "bos_token_id": 1, "known_scale": 3, "_period": 6,
            "inner": {"read": 1, "unread": 2, "null": null}, "unread": {"a": 1}, "a.b": {},
        });
        let log = Mutex::new(FieldLog::default());
        let fields = Fields::new(&config, &log);
        fields.required::<usize>("inner.read");
        fields.settle_rest(&["known_scale", "a.b"]);
        let log = log.lock().unwrap();
        let refused = log.findings.iter().map(|finding| finding.problem.split(' ').next().unwrap());
        let refused: Vec<_> = refused.collect();
        assert_eq!(refused, ["\"x_scale\"", "\"_period\"", "\"inner.unread\"", "\"unread\""]);
        let carried: Vec<_> = log.report.carried.keys().collect();
        assert_eq!(carried, ["a.b", "bos_token_id", "inner.null", "known_scale", "y_scale"]);
    }
}

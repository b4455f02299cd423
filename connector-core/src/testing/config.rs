use crate::checkpoint::{HfCheckpoint, shown};
use crate::connector::{Registration, read_config, translate_config};
use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use serde_json::{Value, json};

/// What [`prove_config`] has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigProof {
    /// How many changed configs were refused.
    pub refused: usize,
    /// How many were read and came back as they were.
    pub returned: usize,
}

/// Shows that an importer with an export takes nothing in a config for granted: `config`, a whole
/// `config.json`, is changed in every field in turn, those of nested objects too, to other values, to
/// null, and to nothing; and a field that nobody knows is added. Each change is refused, or an export
/// on top of it gives it back as it was, and one without it gives the same model.
///
/// ```
/// use connector_core::connector::Registry;
/// use connector_core::testing::prove_config;
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf/config.json");
///
/// let config = serde_json::from_slice(&std::fs::read(fixture)?)?;
/// let llama = Registry::get()?.importer("hf", Some("llama"), &[])?;
///
/// let shown = prove_config(llama, &config)?;
/// assert!(shown.refused > 50 && shown.returned > 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with every change that is neither refused nor given back, and if the config
/// itself is refused.
pub fn prove_config(importer: &Registration, config: &Value) -> Result<ConfigProof> {
    let mut proof = Proof { importer, shown: ConfigProof::default(), findings: Vec::new() };
    proof.show("/", "as it is", config.clone())?;
    if proof.shown.refused > 0 {
        let problem = "is refused as it is, so that nothing can be shown";
        return Err(Error::refused(vec![proof.finding("/", problem.into())]));
    }
    proof.walk("", config, config)?;
    let mut foreign = config.clone();
    foreign["a_field_of_another_model"] = json!(1);
    let before = proof.shown.refused;
    proof.show("/a_field_of_another_model", "1", foreign)?;
    if proof.shown.refused == before {
        let problem = "is known to nobody, may change the model, and is not refused";
        proof.findings.push(proof.finding("/a_field_of_another_model", problem.into()));
    }
    match proof.findings {
        findings if findings.is_empty() => Ok(proof.shown),
        findings => Err(Error::refused(findings)),
    }
}

struct Proof<'a> {
    importer: &'a Registration,
    shown: ConfigProof,
    findings: Vec<Finding>,
}

impl Proof<'_> {
    /// Changes every field of the object at `path`.
    fn walk(&mut self, path: &str, object: &Value, whole: &Value) -> Result<()> {
        for (name, value) in object.as_object().into_iter().flatten() {
            let here = format!("{path}/{name}");
            let mut without = whole.clone();
            if let Some(fields) = without.pointer_mut(path).and_then(Value::as_object_mut) {
                fields.shift_remove(name);
            }
            self.show(&here, "absent", without)?;
            for other in others(value) {
                let mut changed = whole.clone();
                if let Some(field) = changed.pointer_mut(&here) {
                    *field = other.clone();
                }
                self.show(&here, &shown(&other), changed)?;
            }
            self.walk(&here, value, whole)?;
        }
        Ok(())
    }

    fn show(&mut self, path: &str, to: &str, changed: Value) -> Result<()> {
        let connector = self.importer.connector;
        let checkpoint = HfCheckpoint::of_config(changed.clone());
        let model = match read_config(connector, &checkpoint) {
            Ok(read) => read.model,
            Err(Error::Refused(_)) => {
                self.shown.refused += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.shown.returned += 1;
        match translate_config(connector, &model, Some(&changed)) {
            Ok(back) if back == changed => {}
            Ok(back) => {
                let problem = format!("is {to}, and export gives back {}", shown(&back));
                self.findings.push(self.finding(path, problem));
            }
            Err(error) => {
                let problem = format!("is {to} and read, and cannot be exported: {error}");
                self.findings.push(self.finding(path, problem));
            }
        }
        if let Err(error) = translate_config(connector, &model, None) {
            let problem = format!("is {to} and read, and cannot be written anew: {error}");
            self.findings.push(self.finding(path, problem));
        }
        Ok(())
    }

    fn finding(&self, path: &str, problem: String) -> Finding {
        let problem = format!("\"{}\" {problem}", path.trim_start_matches('/'));
        Finding::new(FindingKind::Config, "config.json", problem).rule(self.importer.at)
    }
}

/// Other values of a field that has this one.
fn others(value: &Value) -> Vec<Value> {
    let mut others = match value {
        Value::Null => vec![json!(4), json!(true), json!({"factor": 2.0, "type": "linear"})],
        Value::Bool(on) => vec![json!(!on), json!("yes")],
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(n), _) => vec![json!(n + 1), json!(2 * n), json!(0), json!(-1), json!("many")],
            (None, Some(x)) => vec![json!(2.0 * x + 0.5), json!(x / 2.0), json!(0.0), json!([])],
            (None, None) => Vec::new(),
        },
        Value::String(_) => {
            ["gelu", "relu", "other", "bfloat16", "float8_e4m3fn"].map(|text| json!(text)).into()
        }
        Value::Array(list) => vec![json!([]), json!([list.clone(), vec![json!("more")]].concat())],
        Value::Object(_) => vec![json!({}), json!([]), json!(3)],
    };
    others.push(Value::Null);
    others.retain(|other| other != value);
    others
}

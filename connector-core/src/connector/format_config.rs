//! The format's config that an export writes: what the model's config says, on top of the original.

use super::{Configuration, Connect, Erased, ModelConnector};
use crate::checkpoint::{CONFIG_JSON, FieldReport, HfCheckpoint};
use crate::plan::{Finding, FindingKind};
use crate::schema::{Model, Schema};
use crate::transform::Config;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::marker::PhantomData;

/// The field of a model's config that names the type of its weights.
pub(super) const DTYPE: &str = "params_dtype";
/// What the type of the weights is called in `config.json`, by transformers 5 and before.
const FORMAT_DTYPES: [&str; 2] = ["dtype", "torch_dtype"];

/// The config of the format that an export of `config` writes, `config.json`: what `C` says of the
/// model, on top of `original`, the file that the model was imported from.
///
/// Fields of the original that say the same as `config` stay as they are, in whatever spelling and
/// order. What would be written is read back, and must give `config` again.
///
/// ```
/// use connector_core::ModelConnector;
/// use connector_core::checkpoint::HfCheckpoint;
/// use connector_core::connector::export_config;
/// use connector_core::families::HfLlama;
/// # let fixture = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf"));
///
/// let checkpoint = HfCheckpoint::open(fixture)?;
/// let config = HfLlama::config(&checkpoint)?;
/// assert_eq!(&export_config::<HfLlama>(&config, checkpoint.config())?, checkpoint.config().unwrap());
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] if the original cannot be read, or the format cannot say what `config` says;
/// those of the connector.
pub fn export_config<C: ModelConnector>(
    config: &<C::Model as Model>::Config,
    original: Option<&Value>,
) -> Result<Value> {
    let reason = |error: serde_json::Error| Error::ModelConfig { reason: error.to_string() };
    let model = Config::from_model(config).map_err(reason)?;
    translate_config(&Erased::<C>(PhantomData), &model, original)
}

/// [`export_config`] of a connector without its type.
pub(crate) fn translate_config(
    connector: &dyn Connect,
    model: &Config,
    original: Option<&Value>,
) -> Result<Value> {
    let translation = Translation {
        exporter: connector,
        importer: Some(connector),
        dtype: model.json().get(DTYPE).and_then(Value::as_str),
        file: "the model's config",
        original: CONFIG_JSON,
        carry: &[],
    };
    Ok(translation.write(model, original)?.value)
}

/// Whether the connector's format can say all that this config of a model says.
pub(super) fn says(connector: &dyn Connect, config: &Value) -> bool {
    let configuration = connector.restore(config, "the model's config");
    configuration.and_then(|read| translate_config(connector, &read.model, None)).is_ok()
}

/// A format's config and what it was made from.
pub(super) struct FormatConfig {
    pub value: Value,
    pub report: FieldReport,
}

/// How configs are translated.
#[derive(Clone, Copy)]
pub(super) struct Translation<'a> {
    /// Writes the format's config.
    pub exporter: &'a dyn Connect,
    /// Reads it, if there is an importer.
    pub importer: Option<&'a dyn Connect>,
    /// What PyTorch calls the type of the weights that are written.
    pub dtype: Option<&'a str>,
    /// What says the model's config, for messages.
    pub file: &'a str,
    /// What the original is called in them.
    pub original: &'a str,
    /// Fields of it that the importer need not know.
    pub carry: &'a [String],
}

impl Translation<'_> {
    /// The config for `model`, on top of the `original` from which the model was imported.
    ///
    /// Fields that say what the model's config says already stay as they are, in whatever spelling.
    /// What is written is read back, and must give the model's config again: so nothing of it is
    /// lost without a word.
    ///
    /// # Errors
    /// [`Error::Refused`] if the original cannot be read, or the format cannot say what the
    /// model's config says; those of the connectors.
    pub fn write(&self, model: &Config, original: Option<&Value>) -> Result<FormatConfig> {
        let plain = self.fields(model, None)?;
        let original = original.and_then(Value::as_object);
        let (Some(original), Some(importer)) = (original, self.importer) else {
            let base = original.cloned().map(Value::Object);
            let fields = self.with_dtype(self.fields(model, base.as_ref())?);
            if let Some(importer) = self.importer {
                self.refuse_lost(&self.lost(importer, model, &fields)?)?;
            }
            return Ok(made(fields, &plain, original));
        };

        let before = self.checkpoint(original.clone());
        let unchanged = self.imported(importer, &before, model)?;
        let mut fields = original.clone();
        let base = Value::Object(original.clone());
        let was = self.fields(&unchanged.model, Some(&base))?;
        let is = self.fields(model, Some(&base))?;
        fields.retain(|name, _| is.contains_key(name) || !was.contains_key(name));
        let differ = |(name, value): &(String, Value)| was.get(name) != Some(value);
        fields.extend(is.clone().into_iter().filter(differ));
        let mut fields = self.with_dtype(fields);
        // A field that changed may have another spelling in the original, or follow there from one
        // that is not written: what contradicts then gives way, to the connector's spelling beside
        // the original or, if need be, without it.
        for whole in [&is, &plain] {
            match self.lost(importer, model, &fields) {
                Ok(lost) if lost.is_empty() => return Ok(made(fields, &plain, Some(original))),
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            let report = before.field_report();
            let read = report.consumed.keys().filter_map(|name| name.split('.').next());
            let others: BTreeSet<&str> = read.filter(|name| !whole.contains_key(*name)).collect();
            fields.retain(|name, _| !others.contains(name.as_str()));
            fields.extend(whole.clone());
            fields = self.with_dtype(fields);
        }
        self.refuse_lost(&self.lost(importer, model, &fields)?)?;
        Ok(made(fields, &plain, Some(original)))
    }

    /// A checkpoint of which there is only a config.
    fn checkpoint(&self, config: Map<String, Value>) -> HfCheckpoint {
        let checkpoint = HfCheckpoint::of_config(Value::Object(config));
        checkpoint.carry(self.carry);
        checkpoint
    }

    /// What the connector writes for `model`.
    fn fields(&self, model: &Config, original: Option<&Value>) -> Result<Map<String, Value>> {
        match self.exporter.source_config(model, original)? {
            Value::Object(fields) => Ok(fields),
            other => {
                let reason = format!("its `source_config` is no JSON object but {other}");
                Err(Error::ModelConfig { reason })
            }
        }
    }

    /// The model's config that the original says, but for the type of the weights, which the
    /// weights say.
    fn imported(
        &self,
        importer: &dyn Connect,
        original: &HfCheckpoint,
        model: &Config,
    ) -> Result<Configuration> {
        let advice = format!("without this file config.json is made from {} alone", self.file);
        let about = |error| about(error, self.original, &advice);
        let mut config = read_config(importer, original).map_err(about)?;
        let json = config.model.json();
        if let (Some(mut fields), Some(dtype)) =
            (json.as_object().cloned(), model.json().get(DTYPE).cloned())
        {
            fields.insert(DTYPE.into(), dtype);
            config = importer.restore(&Value::Object(fields), self.original)?;
        }
        Ok(config)
    }

    /// Says which type the weights are of, in the spelling that is there.
    fn with_dtype(&self, mut fields: Map<String, Value>) -> Map<String, Value> {
        let Some(dtype) = self.dtype else { return fields };
        let there: Vec<&str> =
            FORMAT_DTYPES.into_iter().filter(|name| fields.contains_key(*name)).collect();
        for name in there {
            fields.insert(name.into(), dtype.into());
        }
        fields
    }

    /// What reading `fields` gives that differs from `model`: the field, what it is, what comes
    /// back.
    fn lost(
        &self,
        importer: &dyn Connect,
        model: &Config,
        fields: &Map<String, Value>,
    ) -> Result<Vec<(String, Value, Value)>> {
        let advice = "config.json would say so, from this file, and could not be read back";
        let back = read_config(importer, &self.checkpoint(fields.clone()))
            .map_err(|error| about(error, self.file, advice))?;
        Ok(differing(importer.schema(), model, &back.model))
    }

    fn refuse_lost(&self, lost: &[(String, Value, Value)]) -> Result<()> {
        let finding = |(name, is, back): &(String, Value, Value)| {
            let problem = format!("config: \"{name}\" is {is}, which config.json would not say");
            Finding::new(FindingKind::Config, self.file, problem)
                .note(format!("what is written would be read back as {back}"))
                .note("set it back, or let the connector's `source_config` write it")
        };
        match lost {
            [] => Ok(()),
            lost => Err(Error::refused(lost.iter().map(finding).collect())),
        }
    }
}

/// Reads a model's config, every field of the format's settled.
pub(crate) fn read_config(
    importer: &dyn Connect,
    checkpoint: &HfCheckpoint,
) -> Result<Configuration> {
    let config = importer.configure(checkpoint, &[])?;
    checkpoint.fields().settle_rest(&[]);
    match checkpoint.findings() {
        findings if findings.is_empty() => Ok(config),
        findings => Err(Error::refused(findings)),
    }
}

/// The error of reading a config, as one about the file that is to blame.
fn about(error: Error, file: &str, advice: &str) -> Error {
    let Error::Refused(mut refusal) = error else { return error };
    for finding in &mut refusal.findings {
        finding.subject = file.into();
        finding.notes.push(advice.into());
    }
    Error::Refused(refusal)
}

/// The fields in which two configs of a model differ, with both values.
pub(super) fn differing(
    schema: Option<&Schema>,
    one: &Config,
    other: &Config,
) -> Vec<(String, Value, Value)> {
    // How rows are padded and experts named is a matter of the model's side; of the type the weights
    // are witness.
    let divisor = schema.and_then(|schema| schema.vocabulary?.divisor);
    let grouped = schema.and_then(|schema| schema.experts?.grouped);
    let ours = [divisor, grouped, Some(DTYPE)];
    let configs = [one.json(), other.json()];
    let names: BTreeSet<&String> =
        configs.into_iter().filter_map(Value::as_object).flat_map(Map::keys).collect();
    let value = |of: &Value, name: &str| of.get(name).cloned().unwrap_or(Value::Null);
    names
        .into_iter()
        .filter(|name| !ours.contains(&Some(name.as_str())))
        .map(|name| (name.clone(), value(configs[0], name), value(configs[1], name)))
        .filter(|(_, one, other)| one != other)
        .collect()
}

/// The config with what became of each field.
fn made(
    fields: Map<String, Value>,
    plain: &Map<String, Value>,
    original: Option<&Map<String, Value>>,
) -> FormatConfig {
    let mut report = FieldReport::default();
    for (name, value) in &fields {
        let before = original.and_then(|original| original.get(name));
        let kind = match before {
            Some(before) if before != value => &mut report.changed,
            None if original.is_some() => &mut report.changed,
            _ if plain.contains_key(name) || original.is_none() => &mut report.consumed,
            _ => &mut report.carried,
        };
        kind.insert(name.clone(), value.clone());
    }
    FormatConfig { value: Value::Object(fields), report }
}

//! Tensors that need no counterpart, because somebody said so.

use super::compare::Compared;
use super::{Difference, Verification, VerifyOptions};
use crate::checkpoint::MegatronCheckpoint;
use crate::connector::format_config::differing;
use crate::connector::planned::Planned;
use crate::connector::{ImportOptions, Recorded, Registration, Registry};
use crate::key::Pattern;
use crate::plan::{PlanOptions, group_keys, parse_patterns};
use crate::schema::Schema;
use crate::transform::Config;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What needs no counterpart, and why; and what the configs say of the two.
#[derive(Default)]
pub(super) struct Declared {
    patterns: Vec<(String, &'static str)>,
    /// Fields of the format's config that the importer need not know, as the records say.
    pub carried: Vec<String>,
    /// Tensors by name.
    names: HashMap<String, String>,
    /// In which fields the two configs differ.
    differences: Vec<(String, Value, Value)>,
    /// Those of them that have none, whatever the other side holds.
    left_out: BTreeMap<String, Vec<String>>,
}

impl Declared {
    /// What a user says.
    ///
    /// # Errors
    /// [`Error::Refused`] if a pattern is malformed.
    pub fn by_patterns(patterns: &[String]) -> Result<Self> {
        parse_patterns(patterns).map_err(Error::refused)?;
        let patterns =
            patterns.iter().map(|pattern| (pattern.clone(), "ignored by the pattern")).collect();
        Ok(Declared { patterns, ..Declared::default() })
    }

    /// For two checkpoints of one kind: what the user says, what the records say, and of Hugging
    /// Face directories with an importer, what that leaves behind.
    ///
    /// # Errors
    /// Malformed patterns; tensors that must repeat others and do not.
    pub fn of_both(source: &Path, checkpoint: &Path, options: &VerifyOptions) -> Result<Self> {
        let mut declared = Declared::by_patterns(&options.ignore)?;
        let mut configs = Vec::new();
        for path in [source, checkpoint] {
            declared.record(path)?;
            if MegatronCheckpoint::is_at(path)? {
                configs.extend(model_config(path, options)?);
                continue;
            }
            let import = ImportOptions {
                format: options.format.clone(),
                model: options.model.clone(),
                plan: PlanOptions { ignore: options.ignore.clone(), ..PlanOptions::default() },
                cancel: options.cancel.clone(),
                ..ImportOptions::default()
            };
            // A checkpoint that no importer takes can be compared all the same: by names alone.
            if let Some(planned) = fits(Planned::import(path, import))? {
                declared.rows(&planned)?;
                let schema = planned.registration().connector.schema();
                configs.push((planned.model_config().clone(), schema));
            }
        }
        if let [(source, schema), (checkpoint, _)] = &configs[..] {
            declared.differences = differing(*schema, source, checkpoint);
        }
        Ok(declared)
    }

    /// Adds what the record of a conversion says was left out. Returns the patterns of the only
    /// parameters that an import wrote.
    ///
    /// # Errors
    /// If the system refuses to read it.
    pub fn record(&mut self, path: &Path) -> Result<Vec<String>> {
        // Without a record, or one of ours, nothing is said.
        let record = Recorded::read(path)?.unwrap_or_default();
        let patterns = |list: &[String]| -> Vec<String> {
            list.iter().filter(|text| Pattern::parse(text).is_ok()).cloned().collect()
        };
        let why = "ignored when it was converted, by the pattern";
        let ignored = patterns(record.ignored()).into_iter();
        self.patterns.extend(ignored.map(|pattern| (pattern, why)));
        self.carried.extend_from_slice(record.carried());
        Ok(if record.direction == "export" { Vec::new() } else { patterns(record.only()) })
    }

    /// All patterns.
    pub fn patterns(&self) -> Vec<String> {
        self.patterns.iter().map(|(pattern, _)| pattern.clone()).collect()
    }

    /// Adds the tensors that an import leaves behind, and checks that those repeat others which
    /// must.
    ///
    /// # Errors
    /// [`Error::Refused`] if one does not.
    pub fn rows(&mut self, planned: &Planned) -> Result<()> {
        let (plan, tensors) = (planned.plan(), planned.source().tensors());
        planned.check_values()?;
        for ignored in &plan.ignored {
            let why = format!("ignored by {}", ignored.by);
            self.names.insert(tensors[ignored.tensor].name.clone(), why);
        }
        for equal in &plan.equal {
            let why = format!("repeats {}, {}", tensors[equal.right].name, equal.at);
            self.names.insert(tensors[equal.left].name.clone(), why);
        }
        Ok(())
    }

    /// As [`rows`](Self::rows), where the mapping joins the sides: it gives these no counterpart.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn unmapped(&mut self, planned: &Planned) -> Result<()> {
        self.rows(planned)?;
        for (name, why) in &self.names {
            self.left_out.entry(why.clone()).or_default().push(name.clone());
        }
        Ok(())
    }

    /// Why a tensor needs no counterpart.
    fn why(&self, name: &str) -> Option<String> {
        let by_pattern = || {
            let matches = |text: &str| Pattern::parse(text).is_ok_and(|p| p.matches(name));
            let (pattern, why) = self.patterns.iter().find(|(pattern, _)| matches(pattern))?;
            Some(format!("{why} {pattern}"))
        };
        self.names.get(name).cloned().or_else(by_pattern)
    }

    /// What a comparison found, without what is declared. `swapped` says that what was made is the
    /// checkpoint's.
    pub fn settle(
        mut self,
        compared: Compared,
        connector: Option<&'static Registration>,
        swapped: bool,
    ) -> Verification {
        let Compared { equal, bytes, casts, padded, dropped, missing, extra, .. } = compared;
        let mut differences = compared.differences;
        differences.extend(self.differences.drain(..).map(Difference::config));
        let (missing, unexpected) = if swapped { (extra, missing) } else { (missing, extra) };
        for (keys, is_missing) in [(missing, true), (unexpected, false)] {
            for key in keys {
                match self.why(&key) {
                    Some(why) => self.left_out.entry(why).or_default().push(key),
                    None if is_missing => differences.push(Difference::Missing { key }),
                    None => differences.push(Difference::Unexpected { key }),
                }
            }
        }
        let left_out = self.left_out.into_iter().flat_map(|(why, keys)| {
            group_keys(keys).into_iter().map(move |group| (group.text, why.clone()))
        });
        Verification {
            connector,
            equal,
            bytes,
            casts,
            padded: group_keys(padded).into_iter().map(|group| group.text).collect(),
            dropped,
            left_out: left_out.collect(),
            differences,
            refused: Vec::new(),
        }
    }
}

/// The config of a checkpoint that an import wrote, if its model is known.
///
/// # Errors
/// If the system refuses to read it.
fn model_config(
    path: &Path,
    options: &VerifyOptions,
) -> Result<Option<(Config, Option<&'static Schema>)>> {
    let model = options.model.as_deref();
    let opened = fits(options.trained.open(path, &options.format, model))?;
    let known = |checkpoint: MegatronCheckpoint| {
        let model = model.or(checkpoint.model())?;
        let connector = Registry::get().ok()?.exporter(&options.format, model).ok()?.connector;
        let restored = connector.restore(checkpoint.config()?, &checkpoint.config_file());
        Some((restored.ok()?.model, connector.schema()))
    };
    Ok(opened.and_then(known))
}

/// What was opened; `None` if it is no checkpoint of a known model. What could not be read may be
/// one.
///
/// # Errors
/// [`Io`](crate::store::Error::Io), [`Error::Cancelled`].
fn fits<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.is_io() || matches!(error, Error::Cancelled) => Err(error),
        Err(_) => Ok(None),
    }
}

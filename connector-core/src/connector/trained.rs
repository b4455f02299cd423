//! Opening a checkpoint of the model's side: which iteration, and what says which model it is.

use super::planned::{Input, name_subject};
use super::{Direction, Registration, Registry, format_config};
use crate::base::options;
use crate::base::panics::catch;
use crate::checkpoint::{CONFIG_JSON, HfCheckpoint, MegatronCheckpoint};
use crate::framework::{self, Candidate};
use crate::schema::Schema;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

options! {
/// How a checkpoint of training is opened.
pub struct TrainedOptions {
    /// Of a directory of several iterations this one; `None` for the newest.
    pub iteration: Option<u64> = None,
    /// A directory of the format whose `config.json` says what model it is, if the checkpoint does
    /// not, or says what cannot be translated. The files beside it, the tokenizer, are taken from
    /// there too.
    pub hf_config: Option<PathBuf> = None,
}
}

impl TrainedOptions {
    /// Opens the checkpoint at `path`. What is wrong with it is among its findings.
    ///
    /// # Errors
    /// As [`MegatronCheckpoint::open`]; with [`hf_config`](Self::hf_config) [`Error::Refused`] with what
    /// is wrong with that, [`Error::NoImporter`].
    pub(crate) fn open(
        &self,
        path: &Path,
        format: &str,
        model: Option<&str>,
    ) -> Result<MegatronCheckpoint> {
        let checkpoint = MegatronCheckpoint::open_iteration(path, self.iteration)?;
        match &self.hf_config {
            Some(dir) => described(checkpoint, dir, format, model),
            None => Ok(framework::describe(checkpoint, &candidates(format)?)?),
        }
    }
}

/// The schema of the model that a checkpoint is of.
pub(super) fn schema_of(
    checkpoint: &MegatronCheckpoint,
    format: &str,
) -> Result<Option<&'static Schema>> {
    let Some(model) = checkpoint.model() else { return Ok(None) };
    let connector = Registry::get()?.exporter(format, model).ok();
    Ok(connector.and_then(|registration| registration.connector.schema()))
}

/// Names the experts of a checkpoint as its config says, and returns whether as grouped ones.
pub(super) fn spell_experts(checkpoint: &mut MegatronCheckpoint, format: &str) -> Result<bool> {
    let experts = schema_of(checkpoint, format)?.and_then(|schema| schema.experts);
    let config = checkpoint.config();
    let grouped = experts.zip(config).is_some_and(|(experts, config)| experts.are_grouped(config));
    if grouped {
        checkpoint.group_experts();
    }
    Ok(grouped)
}

/// The models that frameworks know, of the importers that are linked in.
fn candidates(format: &str) -> Result<Vec<Candidate<'static>>> {
    let importers = Registry::get()?.connectors().iter().copied();
    let importers = importers.filter(|c| c.direction == Direction::Import && c.format == format);
    let candidate = |registration: &'static Registration| {
        let connector = registration.connector;
        Some(Candidate {
            model: registration.model,
            frameworks: connector.frameworks()?,
            map: connector.config_map(),
            says: Box::new(move |config| {
                catch(|| format_config::says(connector, config)).unwrap_or(false)
            }),
        })
    };
    Ok(importers.filter_map(candidate).collect())
}

/// The checkpoint as the model that the `config.json` in `dir` describes.
fn described(
    checkpoint: MegatronCheckpoint,
    dir: &Path,
    format: &str,
    model: Option<&str>,
) -> Result<MegatronCheckpoint> {
    let config = HfCheckpoint::config_of(dir)?;
    let Some(original) = config.config().cloned() else {
        return Err(of_file(Error::refused(config.findings()), dir));
    };
    let registry = Registry::get()?;
    let registration = registry.importer(format, model, &config.architectures())?;
    let named = |error| of_file(name_subject(error, registration, Direction::Import), dir);
    let configured = catch(|| -> Result<_> {
        let configured = registration.connector.configure(&config, &[])?;
        config.fields().settle_rest(&[]);
        config.fields().finish()?;
        Ok(configured)
    });
    let mut fields = match configured {
        Ok(configured) => configured.map_err(named)?.model.json().clone(),
        Err(panic) => return Err(named(Input::Format(Box::new(config)).cannot_compute(panic))),
    };
    if let (Some(vocabulary), Some(rows)) = (
        registration.connector.schema().and_then(|schema| schema.vocabulary),
        checkpoint.vocab_rows(),
    ) {
        vocabulary.fit(&mut fields, rows);
    }
    let text = config.config_text().to_vec();
    Ok(checkpoint.described(dir, registration.model, fields, (text, original)))
}

/// What is said of `config.json`, said of that in `dir`.
fn of_file(mut error: Error, dir: &Path) -> Error {
    if let Error::Refused(refusal) = &mut error {
        let of_config = refusal.findings.iter_mut().filter(|found| found.subject == CONFIG_JSON);
        of_config.for_each(|found| found.subject = dir.join(CONFIG_JSON).display().to_string());
    }
    error
}

//! Opening what the user named, with advice where that fails.

use super::args::{Iteration, Selection, Trained};
use super::exit::Exit;
use super::failure::Failure;
use super::text;
use crate::checkpoint::files::{Found, OpenErrorKind};
use crate::checkpoint::{self, CONTEXT, HfCheckpoint, MegatronCheckpoint, Tensors, WEIGHTS, look};
use crate::connector::{ExportOptions, Planned};
use crate::key::{distance, similar};
use crate::plan::{Finding, FindingKind};
use crate::store::{self, Source};
use crate::{Error, ImportOptions};
use std::fs;
use std::path::{Path, PathBuf};

/// Plans the import of a directory.
pub(super) fn plan(source: &Path, options: ImportOptions) -> Result<Planned, Failure> {
    planned(source, Planned::import(source, options))
}

/// Plans the export of a directory.
pub(super) fn plan_export(source: &Path, options: ExportOptions) -> Result<Planned, Failure> {
    planned(source, Planned::export(source, options))
}

/// Plans the import of a Hugging Face directory, or the export of one that an import or training
/// wrote.
pub(super) fn plan_either(selection: &Selection, trained: &Trained) -> Result<Planned, Failure> {
    let source = &selection.source;
    if MegatronCheckpoint::is_at(source)? {
        let options = ExportOptions { trained: trained.options(), ..selection.export_options()? };
        return plan_export(source, options);
    }
    if let Some(option) = trained.given() {
        let message = format!("{option}: {} is to be imported", source.display());
        return Err(Failure::usage(message).help("it belongs to checkpoints of training"));
    }
    plan(source, selection.options()?)
}

fn planned(source: &Path, planned: crate::Result<Planned>) -> Result<Planned, Failure> {
    let planned = planned.map_err(|error| explain(source, error))?;
    let (connector, steps) = (planned.registration().name, planned.plan().steps.len());
    tracing::debug!(source = %source.display(), connector, steps, "planned");
    Ok(planned)
}

/// Where the tensors are: in `weights/` of an output of `import`, in an iteration of Megatron-LM.
pub(super) fn weights(path: &Path, iteration: &Iteration) -> Result<PathBuf, Failure> {
    match MegatronCheckpoint::weights(path, iteration.iteration) {
        Ok(weights) if MegatronCheckpoint::is_at(path)? => return Ok(weights),
        Err(error) if iteration.iteration.is_some() || error.is_io() => return Err(error.into()),
        _ => {}
    }
    let inside = path.join("weights");
    if !look::is_dir(&inside)? {
        return Ok(path.into());
    }
    for entry in fs::read_dir(path).map_err(store::Error::io("read", path))? {
        let entry = entry.map_err(store::Error::io("read", path))?;
        if entry.path().extension().is_some_and(|extension| extension == "safetensors") {
            return Ok(path.into());
        }
    }
    Ok(inside)
}

/// Opens a Hugging Face directory without planning.
pub(super) fn checkpoint(source: &Path) -> Result<HfCheckpoint, Failure> {
    HfCheckpoint::open(source).map_err(|error| explain(source, error))
}

/// Opens a file or directory of tensors.
pub(super) fn reader(path: &Path) -> Result<Tensors, Failure> {
    Tensors::open(path).map_err(|error| explain(path, error))
}

/// The error of opening or planning `source`, with what may help.
pub(super) fn explain(source: &Path, error: impl Into<Error>) -> Failure {
    let error = error.into();
    let help = match &error {
        Error::Refused(refusal) if refusal.findings.iter().all(|f| f.keys.is_empty()) => {
            part(source).into_iter().collect()
        }
        Error::Refused(refusal) => refused(source, &refusal.findings),
        Error::Checkpoint(checkpoint::Error::Open(open)) => {
            // Of two that were named it may be the other.
            let named = if open.path.starts_with(source) { source } else { &open.path };
            part(named).or_else(|| unopened(named, &open.kind)).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let unreadable = matches!(&error, Error::Refused(refusal)
        if refusal.findings.iter().all(|f| f.kind == FindingKind::Files))
        && weights(source, &Iteration::NEWEST)
            .is_ok_and(|dir| Tensors::open(dir).is_ok_and(|reader| reader.file_count() == 0));
    let mut failure = Failure::from(error);
    if unreadable {
        // Not one file could be opened: nothing was refused, there was nothing to look at.
        failure.exit = Exit::Io;
    }
    help.into_iter().fold(failure, Failure::help)
}

fn unopened(path: &Path, kind: &OpenErrorKind) -> Option<String> {
    match kind {
        OpenErrorKind::Io { .. } | OpenErrorKind::Missing if path.is_file() => {
            Some("a checkpoint is a directory, and this is a file".into())
        }
        OpenErrorKind::Missing if path.join("config.json").is_file() => {
            let (program, path) = (text::program(), text::quoted(path));
            Some(format!(
                "it is a Hugging Face checkpoint: `{program} import {path} --output DIR` converts it"
            ))
        }
        OpenErrorKind::Missing => missing(path),
        OpenErrorKind::NoCheckpoint(found @ Found::Gguf { .. }) => instead(found).map(Into::into),
        OpenErrorKind::NoCheckpoint(_) if path.is_file() => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = text::quoted(folder.unwrap_or(Path::new(".")));
            Some(format!("name the directory of the checkpoint: {folder}"))
        }
        OpenErrorKind::NoCheckpoint(found) => instead(found).map(Into::into),
        _ => None,
    }
}

/// Of a folder of a checkpoint, or a file in one, the checkpoint.
fn part(path: &Path) -> Option<String> {
    let folder = if path.is_file() { path.parent()? } else { path };
    if ![WEIGHTS, CONTEXT].iter().any(|name| folder.ends_with(name)) {
        return None;
    }
    let whole = folder.parent()?;
    let whole = if whole.as_os_str().is_empty() { Path::new(".") } else { whole };
    MegatronCheckpoint::is_at(whole).unwrap_or(false).then(|| {
        let (part, whole) = (text::quoted(path), text::quoted(whole));
        format!("{part} is a part of a checkpoint: name the whole, {whole}")
    })
}

/// A neighbour of a path that does not exist, or the hub if it reads like a name there.
fn missing(path: &Path) -> Option<String> {
    if path.exists() {
        // What is missing is inside of it.
        return None;
    }
    let name = path.file_name()?.to_str()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = fs::read_dir(parent.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let near = names.filter(|other| similar(name, other)).min_by_key(|other| distance(name, other));
    if let Some(near) = near {
        return Some(format!("did you mean {}?", path.with_file_name(near).display()));
    }
    let is_repository = path.is_relative()
        && path.components().count() == 2
        && parent.is_some_and(|parent| !parent.exists());
    is_repository.then(|| {
        let name = path.display();
        format!("if this is a model on the hub: hf://{name}")
    })
}

/// What to do with a checkpoint of another kind.
fn instead(found: &Found) -> Option<&'static str> {
    Some(match found {
        Found::Pickle { .. } => {
            "of PyTorch's files only `pytorch_model.bin` and its shards are taken for a model; \
             `connector inspect FILE` shows what is in another"
        }
        Found::Safetensors { .. } => "leave out `--weights pytorch`, which takes no safetensors",
        Found::Gguf { .. } => {
            "GGUF files are made for inference; take the model that it was made from"
        }
        Found::ConfigOnly => "the weights are missing; was the download finished?",
        Found::Nemo => "it is an output of `connector import`; `connector export` converts it back",
        Found::TorchDist | Found::MegatronLm => {
            "it is a checkpoint of training; `connector export` converts it to Hugging Face"
        }
        Found::NemoArchive { .. } => {
            "unpack it first, it is a tar archive; connector reads NeMo 2's"
        }
        _ => return None,
    })
}

/// A tensor that only Meta's and Mistral's own form of a model has.
const NATIVE: &str = "tok_embeddings.weight";

/// How to go on after a refusal: with a pattern for what is left over, if anything is.
fn refused(source: &Path, findings: &[Finding]) -> Vec<String> {
    let mut help = Vec::new();
    if let Some(key) = findings.iter().find_map(|finding| finding.keys.first()) {
        let (source, key) = (text::quoted(source), text::quoted_text(key));
        let program = text::program();
        help.push(format!("`{program} explain {source} {key}` follows one tensor"));
    }
    let native = |finding: &Finding| finding.keys.iter().any(|key| key == NATIVE);
    if findings.iter().any(native) {
        help.push(
            "these are the names of the model's first release (`consolidated.safetensors`); \
             download its `model*.safetensors`, which have Hugging Face's"
                .into(),
        );
    }
    let unused = |finding: &&Finding| finding.kind == FindingKind::UnusedTensor;
    if let Some(unused) = findings.iter().find(unused) {
        let pattern = text::quoted_text(&pattern(&unused.subject));
        help.push(format!("`--ignore {pattern}` leaves these tensors out on purpose"));
    }
    help
}

/// A pattern for a group of keys: `layers.*.x` for `layers.{0..31}.x`.
fn pattern(group: &str) -> String {
    let mut out = String::new();
    let mut rest = group;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((_, behind)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push('*');
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_become_patterns() {
        for (group, want) in [
            ("a.{0..31}.b", "a.*.b"),
            ("a.{0,2}.b.{0..7, 3 of them}", "a.*.b.*"),
            ("a.b", "a.b"),
            ("a.{b", "a.{b"),
        ] {
            assert_eq!(pattern(group), want);
        }
    }

    #[test]
    fn a_slip_in_a_path_is_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("llama-3-8b")).unwrap();
        let help = missing(&dir.path().join("lama-3-8b")).unwrap();
        assert!(help.ends_with("llama-3-8b?"), "{help}");
        assert_eq!(missing(&dir.path().join("something-else")), None);
        assert_eq!(missing(&dir.path().join("llama-3-8b")), None);
        assert!(
            missing(Path::new("org-of-nobody/model")).unwrap().contains("hf://org-of-nobody/model")
        );
        assert_eq!(missing(Path::new("/")), None);
    }
}

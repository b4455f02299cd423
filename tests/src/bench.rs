use crate::{Model, Stored, Tree, read_tensors, tree};
use connector_core::connector::Record;
use connector_core::{
    Advice, Error, ExportOptions, ImportOptions, Planned, Result, export_ckpt, import_ckpt,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A temporary directory with a checkpoint in `source`, a place for its import, `out`, and one for
/// the export of that, `back`.
pub struct Bench {
    dir: tempfile::TempDir,
}

/// The default options with something changed.
pub fn options(change: impl FnOnce(&mut ImportOptions)) -> ImportOptions {
    let mut options = ImportOptions::default();
    change(&mut options);
    options
}

/// The same options, and all accepted that the framework computes otherwise than the model in `source`.
pub fn accepting(source: &Path, mut options: ImportOptions) -> ImportOptions {
    if let Err(Error::Refused(refusal)) = Planned::import(source, options.clone()) {
        let advice = refusal.findings.iter().flat_map(|finding| &finding.advice);
        options.accept.extend(advice.filter_map(|advice| match advice {
            Advice::Accept { field } => Some((*field).into()),
            _ => None,
        }));
    }
    options
}

/// The default options of an export with something changed.
pub fn export_options(change: impl FnOnce(&mut ExportOptions)) -> ExportOptions {
    let mut options = ExportOptions::default();
    change(&mut options);
    options
}

impl Bench {
    /// Writes the model into one file.
    pub fn new(model: &Model) -> Self {
        let bench = Bench::empty();
        model.write(&bench.source());
        bench
    }

    /// An empty directory.
    pub fn empty() -> Self {
        Bench { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// The directory of everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The checkpoint.
    pub fn source(&self) -> PathBuf {
        self.dir().join("source")
    }

    /// Where it is imported to.
    pub fn out(&self) -> PathBuf {
        self.dir().join("out")
    }

    /// Where the import is exported to.
    pub fn back(&self) -> PathBuf {
        self.dir().join("back")
    }

    /// Exports what was imported, which must succeed and leave it and the directory tidy.
    #[track_caller]
    pub fn export(&self, options: ExportOptions) -> Record {
        let before = tree(&self.out());
        let exported = match export_ckpt(self.out(), self.back(), options) {
            Ok(exported) => exported,
            Err(error) => panic!("the export failed: {error}"),
        };
        assert_untouched(&tree(&self.out()), &before);
        self.assert_tidy();
        exported
    }

    /// Exports, which must fail and leave everything as it was. Returns what was said.
    #[track_caller]
    pub fn refuse_export(&self, options: ExportOptions) -> Error {
        let back = self.back();
        self.unchanged(|| export_ckpt(self.out(), &back, options))
    }

    /// The tensors of the import.
    pub fn weights(&self) -> BTreeMap<String, Stored> {
        read_tensors(&self.out().join("weights"))
    }

    /// The record of the import.
    pub fn conversion(&self) -> Value {
        let text = fs::read(self.out().join("conversion.json")).expect("a record");
        serde_json::from_slice(&text).expect("it is JSON")
    }

    /// Imports, which must succeed and leave the source and the directory tidy.
    #[track_caller]
    pub fn import(&self, options: ImportOptions) -> Record {
        let before = tree(&self.source());
        let imported = match import_ckpt(self.source(), self.out(), options) {
            Ok(imported) => imported,
            Err(error) => panic!("the import failed: {error}"),
        };
        assert_untouched(&tree(&self.source()), &before);
        self.assert_tidy();
        imported
    }

    /// Imports, which must fail and leave everything as it was. Returns what was said.
    #[track_caller]
    pub fn refuse(&self, options: ImportOptions) -> Error {
        let out = self.out();
        self.unchanged(|| import_ckpt(self.source(), &out, options))
    }

    /// Runs something that must fail and leave everything as it was.
    #[track_caller]
    pub fn unchanged<T>(&self, run: impl FnOnce() -> Result<T>) -> Error {
        let before = tree(self.dir());
        let Err(error) = run() else { panic!("it should have been refused") };
        assert_untouched(&tree(self.dir()), &before);
        error
    }

    /// Fails if a file of an unfinished run lies about.
    #[track_caller]
    pub fn assert_tidy(&self) {
        let left: Vec<String> =
            tree(self.dir()).into_keys().filter(|name| name.contains(".connector-")).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// Fails if something came, went, changed or was written anew.
#[track_caller]
fn assert_untouched(after: &Tree, before: &Tree) {
    let names = before.keys().chain(after.keys());
    let changed: Vec<&String> =
        names.filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(changed.is_empty(), "changed: {changed:?}");
}

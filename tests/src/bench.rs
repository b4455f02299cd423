use crate::{Model, Stored, Tree, read_tensors, tree};
use connector_core::{Error, ImportOptions, Imported, Result, import_ckpt};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A temporary directory with a checkpoint in `source` and a place for its import, `out`.
pub struct Bench {
    dir: tempfile::TempDir,
}

/// The default options with something changed.
pub fn options(change: impl FnOnce(&mut ImportOptions)) -> ImportOptions {
    let mut options = ImportOptions::default();
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
    pub fn import(&self, options: ImportOptions) -> Imported {
        let before = tree(&self.source());
        let imported = match import_ckpt(&self.source(), &self.out(), options) {
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
        self.unchanged(|| import_ckpt(&self.source(), &out, options))
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

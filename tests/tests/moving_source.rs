//! Sources that change under an import, and sources whose files lie elsewhere.

use connector_core::engine::Progress;
use connector_core::{Error, PlannedImport, import_ckpt};
use connector_tests::{Bench, Model, options};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// Does something to the source as soon as something is written.
struct Meddle<F: Fn() + Sync>(F);

impl<F: Fn() + Sync> Progress for Meddle<F> {
    fn begin(&self, _: u64) {}

    fn advance(&self, _: u64) {
        (self.0)();
    }
}

/// What an import says whose source is changed while it runs, and that it leaves nothing.
fn changed(change: impl Fn(PathBuf) + Sync) -> Error {
    let bench = Bench::new(&Model::fixture("llama"));
    let planned = PlannedImport::new(&bench.source(), options(|_| {})).unwrap();
    let meddle = Meddle(|| change(bench.source()));
    let Err(error) = planned.run(&bench.out(), &meddle) else { panic!("it was accepted") };
    assert!(!bench.out().exists());
    bench.assert_tidy();
    error
}

#[test]
fn weights_that_change_are_noticed() {
    let error = changed(|source| {
        let path = source.join("model.safetensors");
        let mut file = fs::File::options().append(true).open(path).unwrap();
        file.write_all(b"more").unwrap();
    });
    assert!(matches!(&error, Error::SourceChanged { path } if path.ends_with("model.safetensors")));
}

#[test]
fn a_config_that_changes_is_noticed() {
    let error = changed(|source| fs::write(source.join("config.json"), "{}").unwrap());
    assert!(matches!(&error, Error::SourceChanged { path } if path.ends_with("config.json")));
}

#[cfg(unix)]
#[test]
fn an_output_that_holds_the_files_behind_links_is_not_replaced() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|_| {}));
    let weights = bench.source().join("model.safetensors");
    let moved = bench.out().join("model.safetensors");
    fs::rename(&weights, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &weights).unwrap();
    let overwrite = options(|o| o.overwrite = true.into());
    let result = import_ckpt(&bench.source(), &bench.out(), overwrite);
    assert!(matches!(result, Err(Error::NotSeparate { .. })));
    assert!(moved.exists());
}

#[test]
fn a_whole_model_beside_the_index_of_another_is_refused() {
    let bench = Bench::empty();
    let model = Model::fixture("llama3_tied");
    model.write(&bench.source());
    let index = r#"{"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}"#;
    fs::write(bench.source().join("model.safetensors.index.json"), index).unwrap();
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(text.contains("`model.safetensors` lies beside an index"), "{text}");
}

#[cfg(unix)]
#[test]
fn pipes_in_the_place_of_small_files_do_not_hang() {
    for name in ["config.json", "model.safetensors.index.json"] {
        let bench = Bench::new(&Model::fixture("llama"));
        let path = bench.source().join(name);
        let _ = fs::remove_file(&path);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(PlannedImport::new(&bench.source(), options(|_| {})).is_err(), "{name}");
    }
}

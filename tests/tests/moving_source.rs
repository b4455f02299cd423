//! Sources that change under an import, and sources whose files lie elsewhere.

use connector_core::connector::{ConvertOptions, PlannedConvert, TorchDist};
use connector_core::engine::Progress;
use connector_core::{Error, Planned, Result, import_ckpt, store};
use connector_tests::{Bench, Model, export_options, options};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does something to the source as soon as something is written, once.
struct Meddle<F: Fn() + Sync>(Once, F);

impl<F: Fn() + Sync> Meddle<F> {
    fn new(change: F) -> Self {
        Meddle(Once::new(), change)
    }
}

impl<F: Fn() + Sync> Progress for Meddle<F> {
    fn begin(&self, _: u64) {}

    fn advance(&self, _: u64) {
        self.0.call_once(|| (self.1)());
    }
}

/// What an import says whose source is changed while it runs, and that it leaves nothing.
fn changed(change: impl Fn(PathBuf) + Sync) -> Error {
    let bench = Bench::new(&Model::fixture("llama"));
    let planned = Planned::import(bench.source(), options(|_| {})).unwrap();
    let meddle = Meddle::new(|| change(bench.source()));
    let Err(error) = planned.run(bench.out(), &meddle) else { panic!("it was accepted") };
    assert!(!bench.out().exists());
    bench.assert_tidy();
    error
}

/// The file of which the error says that it changed.
fn told(error: &Error) -> &Path {
    match error {
        Error::Store(store::Error::SourceChanged { path }) => path,
        error => panic!("{error}"),
    }
}

#[test]
fn weights_that_change_are_noticed() {
    let error = changed(|source| {
        let path = source.join("model.safetensors");
        let mut file = fs::File::options().append(true).open(path).unwrap();
        file.write_all(b"more").unwrap();
    });
    assert!(told(&error).ends_with("model.safetensors"));
}

#[test]
fn a_config_that_changes_is_noticed() {
    let error = changed(|source| fs::write(source.join("config.json"), "{}").unwrap());
    assert!(told(&error).ends_with("config.json"));
}

/// Renames a copy of a file over it, as a downloader does. The copy has its bytes and its times.
fn rename_over(path: PathBuf) {
    // Several threads meddle.
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let new = path.with_extension(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    let modified = path.metadata().unwrap().modified();
    fs::copy(&path, &new).unwrap();
    fs::File::options().append(true).open(&new).unwrap().set_modified(modified.unwrap()).unwrap();
    fs::rename(new, path).unwrap();
}

/// Of side files, which are copied last, some would be of the old state and some of the new.
#[cfg(unix)]
#[test]
fn files_that_are_renamed_over_are_noticed() {
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        let error = changed(|source| rename_over(source.join(name)));
        assert!(told(&error).ends_with(name));
    }
    let error = changed(|source| fs::write(source.join("added.json"), "{}").unwrap());
    assert!(told(&error).ends_with("added.json"));
}

#[cfg(unix)]
#[test]
fn exports_and_conversions_notice_it_too() {
    let model = Model::fixture("llama");
    for name in ["weights/model.safetensors", "context/tokenizer.json"] {
        let is_noticed = |run: &dyn Fn(&Bench, &dyn Progress) -> Result<()>| {
            let bench = Bench::new(&model);
            bench.import(options(|_| {}));
            let error =
                run(&bench, &Meddle::new(|| rename_over(bench.out().join(name)))).unwrap_err();
            assert!(told(&error).ends_with(name));
            assert!(!bench.back().exists());
            bench.assert_tidy();
        };
        is_noticed(&|bench, meddle| {
            let planned = Planned::export(bench.out(), export_options(|_| {}))?;
            planned.run(bench.back(), meddle).map(drop)
        });
        is_noticed(&|bench, meddle| {
            let mut options = ConvertOptions::default();
            options.torch_dist = Some(TorchDist::default());
            PlannedConvert::new(bench.out(), options)?.run(bench.back(), meddle).map(drop)
        });
    }
}

/// A link that is sent elsewhere leads to another file, even if it is sent back.
#[cfg(unix)]
#[test]
fn links_that_are_sent_elsewhere_are_noticed() {
    use std::os::unix::fs::symlink;
    for back in [false, true] {
        let bench = Bench::new(&Model::fixture("llama"));
        let link = bench.source().join("tokenizer.json");
        let [one, two] = ["one", "two"].map(|name| bench.dir().join(name));
        fs::rename(&link, &one).unwrap();
        fs::write(&two, "{}").unwrap();
        let send = |to: &PathBuf| {
            let _ = fs::remove_file(&link);
            symlink(to, &link).unwrap();
        };
        send(&one);
        let planned = Planned::import(bench.source(), options(|_| {})).unwrap();
        let meddle = Meddle::new(|| {
            send(&two);
            if back {
                send(&one);
            }
        });
        let error = planned.run(bench.out(), &meddle).unwrap_err();
        assert_eq!(told(&error), link);
        assert!(!bench.out().exists());
    }
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
    let result = import_ckpt(bench.source(), bench.out(), overwrite);
    assert!(matches!(result, Err(Error::Store(store::Error::NotSeparate { .. }))));
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
        assert!(Planned::import(bench.source(), options(|_| {})).is_err(), "{name}");
    }
}

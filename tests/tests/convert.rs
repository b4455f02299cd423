//! The same tensors in another container.

use connector_core::checkpoint::Flavor;
use connector_core::checkpoint::torch_dist::LayerLayout;
use connector_core::connector::{
    ConvertOptions, Experts, Record, TorchDist, VerifyOptions, convert_ckpt, verify,
};
use connector_core::engine::NoProgress;
use connector_core::store::Overwrite;
use connector_core::{Advice, Error, export_ckpt, store};
use connector_tests::{
    Bench, Child, Model, accepting, assert_same_tensors, contents, export_options, fixture,
    options, read_tensors, tree,
};
use std::fs;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

fn stacked() -> Option<TorchDist> {
    Some(TorchDist::default().layers(LayerLayout::Stacked))
}

fn per_layer() -> Option<TorchDist> {
    Some(TorchDist::default().layers(LayerLayout::PerLayer))
}

fn with(change: impl FnOnce(&mut ConvertOptions)) -> ConvertOptions {
    let mut options = ConvertOptions::default();
    change(&mut options);
    options
}

/// Converts, which must succeed and leave the source alone.
#[track_caller]
fn convert(from: &Path, to: &Path, change: impl FnOnce(&mut ConvertOptions)) -> Record {
    let before = tree(from);
    let record = match convert_ckpt(from, to, with(change)) {
        Ok(record) => record,
        Err(error) => panic!("the conversion failed: {error}"),
    };
    assert_eq!(tree(from), before, "the source is not touched");
    record
}

/// The files of two directories, but for the records, are the same.
#[track_caller]
fn assert_same_files(one: &Path, other: &Path) {
    let [mut one, mut other] = [one, other].map(|dir| contents(dir).expect("a directory"));
    for files in [&mut one, &mut other] {
        files.remove("conversion.json").expect("a record");
    }
    let names = |files: &std::collections::BTreeMap<String, _>| -> Vec<String> {
        files.keys().cloned().collect()
    };
    assert_eq!(names(&one), names(&other));
    for (name, bytes) in &one {
        assert!(bytes == &other[name], "{name} differs");
    }
}

#[test]
fn each_container_becomes_the_other_as_an_import_writes_it() {
    let experts = [None, Some(Experts::Grouped)];
    for (model, experts) in
        [("llama3_tied", experts[0]), ("mixtral", experts[0]), ("mixtral", experts[1])]
    {
        let import = |torch_dist| {
            let bench = Bench::new(&Model::fixture(model));
            bench.import(options(|options| {
                options.torch_dist = torch_dist;
                options.experts = experts;
            }));
            bench
        };
        let (plain, dist) = (import(None), import(stacked()));
        convert(&plain.out(), &plain.back(), |options| options.torch_dist = stacked());
        assert_same_files(&plain.back(), &dist.out());
        convert(&dist.out(), &dist.back(), |_| {});
        let folders = |bench: &Bench, folder: &str| contents(&bench.out().join(folder));
        // Where in its file a tensor lies may follow the source.
        assert_same_tensors(&read_tensors(&dist.back().join("weights")), &plain.weights());
        // What NeMo needs beside the tensors is not taken away.
        assert!(contents(&dist.back().join("context")) == folders(&dist, "context"));
        // Names of experts or not: the same numbers.
        let same = verify(plain.out(), dist.out(), &VerifyOptions::default(), &NoProgress);
        assert!(same.unwrap().is_equal());
    }
}

#[test]
fn a_run_of_megatron_lm_becomes_a_directory_that_exports_by_itself() {
    for (model, kind) in [("llama", "mcore-singleton"), ("mixtral", "mcore-nemo")] {
        let bench = Bench::empty();
        let iteration = bench.source().join("iter_0000120");
        fs::create_dir_all(&iteration).unwrap();
        for entry in fs::read_dir(fixture(&format!("torch_dist/{model}/{kind}"))).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), iteration.join(entry.file_name())).unwrap();
        }
        let args = fixture(&format!("torch_dist/{model}/args.pt"));
        fs::copy(args, iteration.join("common.pt")).unwrap();
        convert(&bench.source(), &bench.out(), |options| options.trained.iteration = Some(120));
        let plain = read_tensors(&fixture(&format!("torch_dist/{model}/plain.safetensors")));
        assert_same_tensors(&bench.weights(), &plain);
        export_ckpt(bench.out(), bench.back(), export_options(|_| {})).unwrap();
        let hf = fixture(&format!("torch_dist/{model}/hf"));
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&hf));
    }
}

#[test]
fn the_directory_of_one_framework_becomes_that_of_another() {
    for flavor in [Flavor::MegatronLm, Flavor::MegatronBridge, Flavor::Nemo] {
        let bench = Bench::new(&Model::fixture("gemma"));
        let dist = |flavor| Some(TorchDist::default().flavor(flavor));
        bench.import(options(|options| options.torch_dist = dist(Flavor::Nemo)));
        let there =
            accepting(&bench.source(), options(|options| options.torch_dist = dist(flavor)));
        if !there.accept.is_empty() {
            let to = ConvertOptions::default().torch_dist(TorchDist::default().flavor(flavor));
            let refused = convert_ckpt(bench.out(), bench.back(), to).unwrap_err().to_string();
            assert!(refused.contains("would compute something else"), "{refused}");
        }
        convert(&bench.out(), &bench.back(), |options| {
            options.torch_dist = dist(flavor);
            options.accept.clone_from(&there.accept);
        });
        let direct = Bench::new(&Model::fixture("gemma"));
        direct.import(there);
        assert_same_files(&bench.back(), &direct.out());
        // And from there to what candle loads.
        let plain = bench.dir().join("plain");
        convert(&bench.back(), &plain, |_| {});
        let same = verify(bench.source(), &plain, &VerifyOptions::default(), &NoProgress);
        assert!(same.unwrap().is_equal());
    }
}

#[test]
fn what_nemo_wrote_keeps_its_files() {
    let bench = Bench::empty();
    let nemo = fixture("torch_dist/nemo");
    let record = convert(&nemo, &bench.out(), |options| options.hash = true);
    assert_same_tensors(&bench.weights(), &read_tensors(&fixture("llama/nemo_state.safetensors")));
    assert_eq!(contents(&bench.out().join("context")), contents(&nemo.join("context")));
    assert_eq!((record.direction, record.hashes.len()), ("convert", bench.weights().len()));
    // And back, with each layer by itself.
    convert(&bench.out(), &bench.back(), |o| o.torch_dist = per_layer());
    let same = verify(&nemo, bench.back(), &VerifyOptions::default(), &NoProgress).unwrap();
    assert!(same.is_equal(), "{same:?}");
}

#[test]
fn what_was_left_out_stays_declared() {
    let bench = Bench::new(&Model::fixture("llama"));
    let only = "decoder.layers.{layer}.**";
    bench.import(options(|options| options.plan.only = vec![only.into()]));
    let record = convert(&bench.out(), &bench.back(), |options| options.torch_dist = stacked());
    assert!(!record.complete);
    let same = verify(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress);
    assert!(same.unwrap().is_equal());
}

#[test]
fn what_cannot_be_converted_is_refused_and_nothing_is_written() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|_| {}));
    let refuse = |from: &Path, to: &Path, change: &dyn Fn(&mut ConvertOptions)| {
        bench.unchanged(|| convert_ckpt(from, to, with(change)))
    };
    let (out, back) = (bench.out(), bench.back());
    let inside = refuse(&out, &out.join("weights/x"), &|_| {});
    assert!(inside.to_string().contains("weights/x"), "{inside}");
    let there = refuse(&out, &bench.source(), &|_| {});
    assert!(matches!(there, Error::Store(store::Error::OutputExists { .. })), "{there}");
    let not_ours = refuse(&out, &bench.source(), &|options| options.overwrite = Overwrite::Yes);
    assert!(matches!(not_ours, Error::Store(store::Error::NotReplaceable { .. })), "{not_ours}");
    let cancelled = refuse(&out, &back, &|options| options.cancel.cancel());
    assert!(matches!(cancelled, Error::Cancelled), "{cancelled}");
    let nameless = refuse(&fixture("torch_dist/llama/mcore-stacked"), &back, &|_| {});
    assert!(nameless.to_string().contains(&Advice::TakeConfig.to_string()), "{nameless}");

    // A config that is another family's, or not there.
    let described = |dir: &Path| {
        let dir = Some(dir.to_path_buf());
        refuse(&out, &back, &move |options| options.trained.hf_config.clone_from(&dir)).to_string()
    };
    let other = described(&fixture("mixtral/hf"));
    assert!(other.contains("does not fit the Mixtral exporter"), "{other}");
    assert!(other.contains("linear_fc1.weight, which is not in the checkpoint"), "{other}");
    let lost = described(&bench.dir().join("lost"));
    assert!(lost.contains("lost/config.json: is not there"), "{lost}");

    fs::rename(out.join("context/model.yaml"), out.join("context/other")).unwrap();
    let nameless = refuse(&out, &back, &|_| {});
    assert!(nameless.to_string().contains("context/model.yaml"), "{nameless}");
    let described = with(|options| options.trained.hf_config = Some(bench.source()));
    convert_ckpt(&out, &back, described).unwrap();
    let same = verify(bench.source(), &back, &VerifyOptions::default(), &NoProgress).unwrap();
    assert!(same.is_equal(), "{same:?}");
}

#[test]
#[cfg(unix)]
fn a_pipe_in_place_of_the_record_is_not_waited_for() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|_| {}));
    let record = bench.out().join("conversion.json");
    fs::remove_file(&record).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&record).status().unwrap().success());
    convert_ckpt(bench.out(), bench.back(), with(|_| {})).unwrap();
}

#[test]
fn the_command_writes_what_the_library_does() {
    let bench = Bench::new(&Model::fixture("mistral"));
    bench.import(options(|_| {}));
    let run = |args: &[&str]| {
        let (out, back) = (bench.out(), bench.back());
        let paths = [out.to_str().unwrap(), "--output", back.to_str().unwrap()];
        let child = Child::new(PROGRAM, &["convert"]);
        paths.iter().chain(args).fold(child, |child, arg| child.arg(arg)).run()
    };
    let dry = run(&["--container", "torch_dist", "--dry-run", "--json"]);
    assert_eq!(dry.code, Some(0), "{}", dry.text);
    assert!(dry.text.contains("connector.convert/1") && !bench.back().exists(), "{}", dry.text);
    let done = run(&["--container", "torch_dist", "--layout", "per-layer"]);
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert!(done.text.contains("safetensors → torch_dist"), "{}", done.text);
    let other = bench.dir().join("other");
    convert(&bench.out(), &other, |o| o.torch_dist = per_layer());
    assert!(contents(&bench.back()) == contents(&other));
    assert_eq!(run(&[]).code, Some(2), "it is there");
    assert_eq!(run(&["--overwrite", "--model", "llama"]).code, Some(2), "of no --hf-config");
}

#[test]
fn of_a_part_of_a_checkpoint_the_whole_is_named() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|_| {}));
    let dist = bench.dir().join("dist");
    convert(&bench.out(), &dist, |o| o.torch_dist = Some(TorchDist::default()));
    let back = bench.back();
    for (whole, part) in [
        (bench.out(), "weights"),
        (bench.out(), "context"),
        (bench.out(), "weights/model.safetensors"),
        (dist.clone(), "weights"),
    ] {
        let path = whole.join(part);
        for command in ["convert", "export"] {
            let [path, back] = [&path, &back].map(|path| path.to_str().unwrap());
            let done = Child::new(PROGRAM, &[command, path, "--output", back]).run();
            assert!(matches!(done.code, Some(3 | 4)), "{command} {part}: {}", done.text);
            let text: String = done.text.split_whitespace().collect();
            let named = format!("namethewhole,{}", whole.display());
            assert!(text.contains(&named), "{command} {part}: {}", done.text);
        }
    }
    let file = bench.source().join("model.safetensors");
    let done = Child::new(PROGRAM, &["convert", file.to_str().unwrap(), "--output"])
        .arg(back.to_str().unwrap())
        .run();
    assert!(done.text.contains("a checkpoint is a directory"), "{}", done.text);
}

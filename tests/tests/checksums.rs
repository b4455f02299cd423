//! The checksums in torch's files are used: whatever reads a record in which a bit flipped says so and
//! publishes nothing.

use connector_core::connector::{
    ConvertOptions, Planned, TorchDist, VerifyOptions, convert_ckpt, diff, verify,
};
use connector_core::engine::{Io, NoProgress};
use connector_core::model::{LoadOptions, Loaded};
use connector_core::{Error, ExportOptions, Result, checkpoint};
use connector_tests::{
    Bench, Child, Ended, Model, assert_same_tensors, export_options, fixture, options, read_tensors,
};
use std::fmt::Debug;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// Where the data of tensors lie in a file of torch: the members `data/0`, `data/1` of its archives.
fn records(bytes: &[u8]) -> Vec<Range<usize>> {
    let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let data = |header: usize| {
        let name = header + 30..header + 30 + number(header + 26);
        let start = name.end + number(header + 28);
        let len = find(&bytes[start..], b"PK").next()?;
        let is_data = String::from_utf8_lossy(&bytes[name]).contains("/data/");
        (is_data && len > 0).then_some(start..start + len)
    };
    find(bytes, b"PK\x03\x04").filter_map(data).collect()
}

/// The places of `what`.
fn find<'b>(bytes: &'b [u8], what: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    let windows = bytes.windows(what.len()).enumerate();
    windows.filter(move |(_, found)| *found == what).map(|(at, _)| at)
}

/// Takes the checksums out of an archive, as torch writes it if it is not to compute any.
fn without_checksums(bytes: &mut [u8]) {
    for (signature, at) in [(b"PK\x03\x04", 14), (b"PK\x07\x08", 4), (b"PK\x01\x02", 16)] {
        let places: Vec<usize> = find(bytes, signature).collect();
        for found in places {
            bytes[found + at..found + at + 4].fill(0);
        }
    }
}

/// Runs something on `file` with each of some bits flipped: of every record one at its beginning, and
/// one at its end, which may be in no tensor.
fn with_each_bit(file: &Path, mut run: impl FnMut()) {
    let sound = fs::read(file).unwrap();
    let records = records(&sound);
    assert!(records.len() > 8, "{}: {}", file.display(), records.len());
    for Range { start, end } in records {
        for place in [start + 1, end - 1] {
            let mut bytes = sound.clone();
            bytes[place] ^= 0x10;
            fs::write(file, bytes).unwrap();
            run();
        }
    }
    fs::write(file, sound).unwrap();
}

#[track_caller]
fn assert_damaged<T: Debug>(done: Result<T>, file: &Path) {
    match done {
        Err(Error::Checkpoint(checkpoint::Error::Damaged { records })) => {
            assert_eq!(records.len(), 1, "{records:?}");
            assert_eq!(records[0].path.file_name(), file.file_name());
        }
        Err(error) => panic!("another error: {error}"),
        Ok(done) => panic!("nobody noticed: {done:?}"),
    }
}

/// The Llama of the fixtures with a file of torch as its weights.
fn pickled(name: &str) -> (Bench, PathBuf) {
    let bench = Bench::empty();
    let model = Model { tensors: Vec::new(), ..Model::fixture("llama") };
    model.write_files(&bench.source());
    let file = bench.source().join("pytorch_model.bin");
    fs::copy(fixture(&format!("torch_save/{name}")), &file).unwrap();
    (bench, file)
}

/// An import of `model` as torch_dist, in `out`.
fn distributed(model: &Model) -> (Bench, PathBuf) {
    let bench = Bench::new(model);
    bench.import(options(|options| options.torch_dist = Some(TorchDist::default())));
    let file = bench.out().join("weights/__0_0.distcp");
    (bench, file)
}

#[test]
fn a_flipped_bit_in_a_file_of_torch_save() {
    let (bench, file) = pickled("zip.bin");
    let (source, sound) = (bench.source(), Bench::new(&Model::fixture("llama")));
    sound.import(options(|_| {}));
    let (hf, model) = (sound.source(), sound.out());
    let (verifying, quiet) = (VerifyOptions::default(), &NoProgress);
    with_each_bit(&file, || {
        let error = bench.refuse(options(|_| {}));
        assert_damaged::<()>(Err(error), &file);
        assert_damaged(verify(&source, &model, &verifying, quiet), &file);
        assert_damaged(diff(&hf, &source, &verifying, quiet), &file);
        let planned = Planned::import(&source, options(|_| {})).unwrap();
        assert_damaged(planned.in_memory(), &file);
        assert_damaged(Loaded::open(&source, &LoadOptions::default()), &file);
    });
    bench.import(options(|_| {}));
    assert_same_tensors(&bench.weights(), &sound.weights());
}

#[test]
fn a_flipped_bit_in_a_distributed_checkpoint() {
    let (bench, file) = distributed(&Model::fixture("llama"));
    let (source, model) = (bench.source(), bench.out());
    let (verifying, quiet) = (VerifyOptions::default(), &NoProgress);
    with_each_bit(&file, || {
        let error = bench.refuse_export(ExportOptions::default());
        assert_damaged::<()>(Err(error), &file);
        let convert = || convert_ckpt(&model, bench.back(), ConvertOptions::default());
        assert_damaged::<()>(Err(bench.unchanged(convert)), &file);
        assert_damaged(verify(&source, &model, &verifying, quiet), &file);
        assert_damaged(diff(&model, &model, &verifying, quiet), &file);
        assert_damaged(Loaded::open(&model, &LoadOptions::default()), &file);
    });
    bench.export(export_options(|_| {}));
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&source));
}

/// Past the cache, or by the kernel, which shows nobody what it copies.
#[test]
fn however_bytes_get_from_file_to_file() {
    let (bench, file) = distributed(&Model::llama(1, "BF16"));
    let sound = fs::read(&file).unwrap();
    let records = records(&sound);
    for (io, threads) in [(Io::Auto, 2), (Io::Buffered, 3), (Io::Direct, 2), (Io::Copy, 1)] {
        let convert = || {
            let mut options = ConvertOptions::default();
            options.torch_dist = Some(TorchDist::default());
            (options.engine.io, options.engine.threads) = (io, threads);
            options.engine.sync = false;
            convert_ckpt(bench.out(), bench.back(), options)
        };
        for Range { start, end } in records.iter().step_by(4) {
            let mut bytes = sound.clone();
            bytes[(start + end) / 2] ^= 1;
            fs::write(&file, bytes).unwrap();
            assert_damaged::<()>(Err(bench.unchanged(convert)), &file);
        }
        fs::write(&file, &sound).unwrap();
        convert().unwrap();
        assert!(fs::read(bench.back().join("weights/__0_0.distcp")).unwrap() == sound, "{io:?}");
        fs::remove_dir_all(bench.back()).unwrap();
    }
}

/// What is left out of a conversion may be damaged.
#[test]
fn what_is_not_read_is_not_checked() {
    let (bench, file) = distributed(&Model::fixture("llama"));
    let mut bytes = fs::read(&file).unwrap();
    let norm = read_tensors(&bench.source())["model.norm.weight"].bytes.clone();
    let place = find(&bytes, &norm).next().unwrap();
    bytes[place] ^= 1;
    fs::write(&file, bytes).unwrap();
    let only = |pattern: &str| export_options(|options| options.plan.only = vec![pattern.into()]);
    assert_damaged::<()>(Err(bench.refuse_export(only("model.norm.weight"))), &file);
    bench.export(only("model.embed_tokens.weight"));
}

/// Files of before torch 1.6 have none, and torch leaves them out if it is told to.
#[test]
fn files_without_checksums_are_read_all_the_same() {
    let inspect = |dir: &Path| command(&["inspect", dir.to_str().unwrap(), "--check"]);
    let sound = Bench::new(&Model::fixture("llama"));
    sound.import(options(|_| {}));
    for name in ["zip.bin", "legacy.bin"] {
        let (bench, file) = pickled(name);
        let mut bytes = fs::read(&file).unwrap();
        without_checksums(&mut bytes);
        fs::write(&file, &bytes).unwrap();
        bench.import(options(|_| {}));
        assert_same_tensors(&bench.weights(), &sound.weights());
        let inspected = inspect(&bench.source());
        assert_eq!(inspected.code, Some(0), "{}", inspected.text);
        assert!(inspected.text.contains("written without any"), "{}", inspected.text);
    }
    let (bench, _) = pickled("zip.bin");
    let inspected = inspect(&bench.source());
    assert!(inspected.text.contains("as they were written"), "{}", inspected.text);
}

fn command(args: &[&str]) -> Ended {
    Child::new(PROGRAM, args).run()
}

#[test]
fn every_command_ends_with_the_code_of_an_unreadable_file() {
    let (pickled, pickle) = pickled("zip.bin");
    let (distributed, file) = distributed(&Model::fixture("llama"));
    for file in [&pickle, &file] {
        let mut bytes = fs::read(file).unwrap();
        let first = records(&bytes)[0].start;
        bytes[first] ^= 0x40;
        fs::write(file, bytes).unwrap();
    }
    let [bin, hf, dist, back] =
        [pickled.source(), fixture("llama/hf"), distributed.out(), distributed.back()]
            .map(|path| path.to_str().unwrap().to_string());
    let ids = fixture("llama/logits.safetensors").to_str().unwrap().to_string();
    for (args, code) in [
        (&["import", &bin, "--output", &back][..], 4),
        (&["export", &dist, "--output", &back], 4),
        (&["convert", &dist, "--output", &back, "--container", "safetensors"], 4),
        (&["verify", &hf, &dist], 4),
        (&["diff", &bin, &hf], 4),
        (&["logits", &dist, "--ids", &ids, "--out", &back], 4),
        (&["generate", &bin, "--prompt", "a"], 4),
        (&["inspect", &bin, "--check"], 5),
        (&["inspect", &dist, "--check"], 5),
    ] {
        let ended = command(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.text);
        // Lines are broken where the screen ends.
        let text = ended.text.split_whitespace().collect::<Vec<_>>().join(" ");
        for want in ["damaged", "the record of `", " has the CRC ", ", and should have "] {
            assert!(text.contains(want), "{args:?}: {text}");
        }
        assert!(!Path::new(&back).exists(), "{args:?}");
    }
}

//! What the fuzz targets in `fuzz/` call: one function for each reader of bytes that come from
//! strangers. The tests call them with what fuzzing found.
//!
//! Most put the bytes into a folder, as one file of a checkpoint whose other files are a fixture's,
//! and open that as the commands do. None may panic, hang, or take more memory than the targets
//! allow; what each of them asserts beyond that is said at the function.

pub use crate::checkpoint::fuzzing::{pickle, zip};

use crate::checkpoint::fuzzing::archive;
use crate::checkpoint::safetensors::{Header, HeaderErrorKind as Kind, InvalidTensor, header};
use crate::checkpoint::{HfCheckpoint, torch_dist, torch_save};
use crate::connector::{Configuration, Registration, Registry};
use crate::store::{Pieces, Source};
use crate::{ExportOptions, ImportOptions, Planned, Result};
use safetensors::SafeTensors;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of this thread, which is removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("connector-fuzz-{}-{number}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

thread_local! {
    static SCRATCH: OnceCell<Scratch> = const { OnceCell::new() };
}

/// Writes `bytes` as the file `name` of the folder for `target`, in which are copies of `fixtures`:
/// their places there and below `tests/fixtures`. `look` is given the folder.
fn in_folder(
    target: &str,
    fixtures: &[(&str, &str)],
    name: &str,
    bytes: &[u8],
    look: impl FnOnce(&Path),
) {
    let prepare = |dir: &Path| -> std::io::Result<()> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
        let place = |name: &str| {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap_or(dir)).map(|()| path)
        };
        if !dir.exists() {
            for (name, fixture) in fixtures {
                fs::copy(from.join(fixture), place(name)?)?;
            }
            place(name)?;
        }
        fs::write(dir.join(name), bytes)
    };
    SCRATCH.with(|scratch| {
        let dir = scratch.get_or_init(Scratch::new).0.join(target);
        if let Err(error) = prepare(&dir) {
            panic!("{}: {error}", dir.display());
        }
        look(&dir);
    });
}

/// An error is an answer; a user reads it.
fn told<T, E: ToString>(result: Result<T, E>) -> Option<T> {
    result.map_err(|error| drop(error.to_string())).ok()
}

/// A file of safetensors. The crate of that name reads the same of it, but for what
/// [`is_stricter`] and [`is_laxer`] know.
pub fn safetensors(bytes: &[u8]) {
    in_folder("safetensors", &[], "model.safetensors", bytes, |dir| {
        let path = dir.join("model.safetensors");
        let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let ours = header::read(&file, bytes.len() as u64);
        let ours = ours.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        match (ours, SafeTensors::deserialize(bytes)) {
            (Ok(ours), Ok(theirs)) => compare(bytes, &ours, &theirs),
            (Err(ours), theirs) => {
                drop(ours.to_string());
                let stricter = is_stricter(&ours) || names_one_twice(bytes);
                assert!(theirs.is_err() || stricter, "only we refuse it: {ours}");
            }
            (Ok(_), Err(theirs)) => assert!(is_laxer(bytes), "only they refuse it: {theirs}"),
        }
    });
}

fn compare(bytes: &[u8], ours: &Header, theirs: &SafeTensors<'_>) {
    assert_eq!(ours.tensors.len(), theirs.len());
    for tensor in &ours.tensors {
        let Ok(view) = theirs.tensor(&tensor.name) else { panic!("{tensor:?} is only ours") };
        assert_eq!(tensor.dtype.name(), view.dtype().to_string());
        assert_eq!(tensor.shape, view.shape());
        let (start, end) = (tensor.bytes.start as usize, tensor.bytes.end as usize);
        assert!(std::ptr::eq(&bytes[start..end], view.data()), "{tensor:?}");
    }
}

/// What we refuse on purpose, and the crate takes: names that no message can show, a key that comes
/// twice, JSON that begins with white space, `"__metadata__": null`, and dimensions whose product
/// overflows if it is not multiplied from the first one on.
fn is_stricter(kind: &Kind) -> bool {
    match kind {
        Kind::DuplicateKey { .. } | Kind::NotAnObject { .. } | Kind::Metadata { .. } => true,
        Kind::TooManyTensors { .. } => true,
        Kind::Tensor(InvalidTensor::Overflow { shape, .. }) => shape.contains(&0),
        Kind::Tensor(tensor) => !matches!(tensor, InvalidTensor::PartialByte { .. }),
        _ => false,
    }
}

/// Whether a key of the header comes twice: the crate takes the last, whatever the first says.
fn names_one_twice(bytes: &[u8]) -> bool {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = bool;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let (mut seen, mut twice) = (BTreeSet::new(), false);
            while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
                twice |= !seen.insert(key);
            }
            Ok(twice)
        }
    }
    let header = header(bytes);
    serde_json::Deserializer::from_slice(header).deserialize_map(Keys).unwrap_or(false)
}

/// Whether the crate stumbles over what we pass over: it parses the values of fields that mean
/// nothing to either.
fn is_laxer(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(header(bytes)).is_err()
}

/// The JSON of a file of safetensors, as much of it as is there.
fn header(bytes: &[u8]) -> &[u8] {
    let (len, rest) = bytes.split_at(bytes.len().min(8));
    let len = len.iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
    &rest[..len.min(rest.len())]
}

/// `model.safetensors.index.json`, with one of the shards that it may name.
pub fn index(bytes: &[u8]) {
    const SHARD: &str = "model-00001-of-00003.safetensors";
    const FIXTURES: [(&str, &str); 1] = [(SHARD, "mixtral/hf/model-00001-of-00003.safetensors")];
    in_folder("index", &FIXTURES, "model.safetensors.index.json", bytes, |dir| {
        if let Some(checkpoint) = told(HfCheckpoint::open(dir)) {
            drop(checkpoint.findings().iter().map(ToString::to_string).collect::<String>());
            stays_inside(dir, checkpoint.source());
        }
    });
}

/// A file that names others leads nowhere out of its folder.
fn stays_inside(dir: &Path, source: &dyn Source) {
    for file in 0..source.file_count() {
        let path = source.path(file);
        let below =
            path.strip_prefix(dir).unwrap_or_else(|_| panic!("{} is outside", path.display()));
        assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
    }
}

/// `config.json`, for each family, and for the plan of the one that it names. What a family's config
/// is written as means the same when it is read again.
pub fn config(bytes: &[u8]) {
    const FIXTURES: [(&str, &str); 1] = [("model.safetensors", "llama/hf/model.safetensors")];
    in_folder("config", &FIXTURES, "config.json", bytes, |dir| {
        for registration in registered() {
            let connector = registration.connector;
            let Some(source) = told(HfCheckpoint::config_of(dir)) else { return };
            let Some(read) = told(connector.configure(&source, &[])) else { continue };
            let Some(written) = told(connector.source_config(&read.model, source.config())) else {
                continue;
            };
            let again = connector.configure(&HfCheckpoint::of_config(written), &[]);
            let fields = |read: &Configuration| read.model.json().clone();
            assert_eq!(fields(&again.unwrap_or_else(|e| panic!("{e}"))), fields(&read));
        }
        told(Planned::import(dir, ImportOptions::default()));
    });
}

/// The connectors of this crate.
fn registered() -> &'static [&'static Registration] {
    Registry::get().unwrap_or_else(|error| panic!("{error}")).connectors()
}

/// Bytes as a file beside the tensors of Megatron's side, which are in `weights/`; planned as an
/// export.
fn beside_tensors(target: &str, name: &str, bytes: &[u8]) {
    const FIXTURES: [(&str, &str); 1] =
        [("weights/model.safetensors", "llama/nemo_state.safetensors")];
    in_folder(target, &FIXTURES, name, bytes, |dir| {
        told(Planned::export(dir, ExportOptions::default()));
    });
}

/// `context/model.yaml`, connector's or NeMo's.
pub fn model_yaml(bytes: &[u8]) {
    beside_tensors("model_yaml", "context/model.yaml", bytes);
}

/// Megatron-Bridge's `run_config.yaml`.
pub fn run_config(bytes: &[u8]) {
    beside_tensors("run_config", "weights/run_config.yaml", bytes);
}

/// The pickle in Megatron-LM's `common.pt`, with its command line.
pub fn common(bytes: &[u8]) {
    beside_tensors("common", "weights/common.pt", &archive(bytes, &[]));
}

/// The `.metadata` of a distributed checkpoint, before real files of records.
pub fn metadata(bytes: &[u8]) {
    const FIXTURES: [(&str, &str); 3] = [
        ("metadata.json", "torch_dist/nemo/weights/metadata.json"),
        ("__0_0.distcp", "torch_dist/nemo/weights/__0_0.distcp"),
        ("__0_1.distcp", "torch_dist/nemo/weights/__0_1.distcp"),
    ];
    in_folder("metadata", &FIXTURES, ".metadata", bytes, |dir| {
        if let Some(reader) = told(torch_dist::Reader::open(dir)) {
            drop(reader.problems().iter().map(ToString::to_string).collect::<String>());
            stays_inside(dir, &reader);
        }
    });
}

/// A `pytorch_model.bin` of before torch 1.6, or the pickle in one of after. What it has is read.
pub fn torch_save(bytes: &[u8]) {
    const MOST: u64 = 1 << 16;
    // The first opcodes of the old form, which announce a long number.
    let file = match bytes.starts_with(b"\x80\x02\x8a\x0a") {
        true => bytes.to_vec(),
        false => archive(bytes, &[vec![1; 64], vec![2; 640]]),
    };
    in_folder("torch_save", &[], "pytorch_model.bin", &file, |dir| {
        let Some(reader) = told(torch_save::Reader::open(dir)) else { return };
        drop(reader.problems().iter().map(ToString::to_string).collect::<String>());
        for tensor in reader.tensors() {
            let elements = tensor.shape.iter().map(|&dim| dim as u64).product();
            if let Pieces::Whole { file, offset } = tensor.pieces
                && let Some(size) = tensor.dtype.size(elements).filter(|&size| size <= MOST)
            {
                let read = reader.read_at(file, offset, &mut vec![0; size as usize]);
                assert!(read.is_ok() || !reader.problems().is_empty(), "{tensor:?}: {read:?}");
            }
        }
    });
}

/// An adapter's `weights/adapter_metadata.json`.
#[cfg(feature = "train")]
pub fn adapter(bytes: &[u8]) {
    use crate::model::AdapterMetadata;
    in_folder("adapter", &[], "weights/adapter_metadata.json", bytes, |dir| {
        told(AdapterMetadata::read(dir));
    });
}

/// `tokenizer.json`, and a short text there and back.
#[cfg(feature = "candle")]
pub fn tokenizer(bytes: &[u8]) {
    use crate::model::Tokenizer;
    const TEXT: &str = "The sand is on the sea, 3.14: naïve 日本語\n\t<s> ▁x</s>";
    in_folder("tokenizer", &[], Tokenizer::FILE, bytes, |dir| {
        let opened = told(Tokenizer::open(dir.join(Tokenizer::FILE)));
        let Some(tokenizer) = opened else { return };
        let Some(tokens) = told(tokenizer.encode(TEXT, true)) else { return };
        told(tokenizer.decode(&tokens));
        let mut stream = tokenizer.stream();
        told(tokens.iter().try_for_each(|&token| stream.push(token).map(drop)));
    });
}

/// Data for training, as lines of JSON and as plain text.
#[cfg(feature = "train")]
pub fn data(bytes: &[u8]) {
    use crate::model::Tokenizer;
    use crate::train::FineTuningData;
    const FIXTURES: [(&str, &str); 1] = [("tokenizer.json", "llama/hf/tokenizer.json")];
    for (target, name) in [("lines", "training.jsonl"), ("text", "training.txt")] {
        in_folder(target, &FIXTURES, name, bytes, |dir| {
            thread_local! {
                static TOKENIZER: OnceCell<Option<Tokenizer>> = const { OnceCell::new() };
            }
            TOKENIZER.with(|tokenizer| {
                let open = || told(Tokenizer::open(dir.join(Tokenizer::FILE)));
                let Some(tokenizer) = tokenizer.get_or_init(open) else { panic!("the fixture's") };
                let data = FineTuningData { seq_length: 64, ..FineTuningData::new(dir.join(name)) };
                told(data.load(tokenizer, Some(2)));
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    type Target = fn(&[u8]);

    /// Every target. The fuzzer calls it by this name, and the tests with each file of its corpus.
    const TARGETS: &[(&str, Target)] = &[
        ("common", super::common),
        ("config", super::config),
        ("index", super::index),
        ("metadata", super::metadata),
        ("model_yaml", super::model_yaml),
        ("pickle", super::pickle),
        ("run_config", super::run_config),
        ("safetensors", super::safetensors),
        ("torch_save", super::torch_save),
        ("zip", super::zip),
        #[cfg(feature = "train")]
        ("adapter", super::adapter),
        #[cfg(feature = "train")]
        ("data", super::data),
        #[cfg(feature = "candle")]
        ("tokenizer", super::tokenizer),
    ];

    #[test]
    fn what_fuzzing_found_is_harmless() {
        for (name, run) in TARGETS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let files: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
            assert!(files.len() > 3, "{name}");
            for file in files {
                run(&std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }

    #[cfg(feature = "train")]
    #[test]
    fn every_target_is_tested() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut fuzzed: Vec<_> = files.collect();
        let name =
            |path: &std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_string();
        fuzzed.sort();
        let mut tested: Vec<_> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
        tested.sort();
        assert_eq!(fuzzed.iter().map(name).collect::<Vec<_>>(), tested);
    }
}

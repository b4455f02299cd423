//! What the cache takes for the same source: never other bytes, whatever their names, lengths and
//! times are.
#![cfg(unix)]

use connector_core::connector::Planned;
use connector_core::connector::cache::Cache;
use connector_core::{Error, store};
use connector_tests::{Child, Model, fixture, options};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");
const WEIGHTS: &str = "model.safetensors";

/// Flips the bits of a file's last byte, which is a tensor's or a text's, in place.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

/// The time that Nix, Bazel, reproducible archives and images give everything.
fn normal() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1)
}

fn normalise(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        set_time(&entry.unwrap().path(), normal());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    normalise(to);
}

/// Imports into the cache in `home`, and says whether it converted; else it found.
#[track_caller]
fn converts(home: &Path, source: &Path, points: &str) -> bool {
    let ended = Child::new(PROGRAM, &["import", source.to_str().unwrap()])
        .env("NEMO_HOME", home)
        .failpoints(points)
        .run();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let done = ended.text.contains("\n  done ");
    assert!(done != ended.text.contains("\n  cached "), "{}", ended.text);
    done
}

#[test]
fn copies_and_edits_with_equal_times_are_other_sources() {
    let dir = tempfile::tempdir().unwrap();
    let (home, hf) = (dir.path().join("nemo"), fixture("llama/hf"));
    let [a, b] = ["a/hf", "b/hf"].map(|name| dir.path().join(name));
    copy(&hf, &a);
    copy(&hf, &b);
    flip(&b.join(WEIGHTS));
    normalise(&b);
    assert!(converts(&home, &a, "") && converts(&home, &b, ""));
    // Edited in place, and the time put back.
    flip(&a.join(WEIGHTS));
    set_time(&a.join(WEIGHTS), normal());
    assert!(converts(&home, &a, ""));
    // A side file.
    fs::write(a.join("tokenizer_config.json"), "{ }").unwrap();
    set_time(&a.join("tokenizer_config.json"), normal());
    assert!(converts(&home, &a, ""));
    assert!(!converts(&home, &a, "") && !converts(&home, &b, ""));
}

/// On FUSE, in an image, on FAT: what the files hold counts, and nothing else.
#[test]
fn where_times_say_nothing_the_content_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("nemo"), dir.path().join("hf"));
    copy(&fixture("llama/hf"), &source);
    let converts = || converts(&home, &source, "cache.ctime=error");
    assert!(converts());
    set_time(&source.join(WEIGHTS), SystemTime::now());
    assert!(!converts(), "it was only touched");
    for name in [WEIGHTS, "tokenizer.json"] {
        flip(&source.join(name));
        assert!(converts(), "{name}");
        flip(&source.join(name));
        assert!(!converts(), "{name} is what it was");
    }
}

#[test]
fn a_source_that_changes_after_it_was_planned_is_no_hit() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, source) = (Cache::at(dir.path().join("cache")), dir.path().join("hf"));
    copy(&fixture("llama/hf"), &source);
    let plan = || Planned::import(&source, options(|_| {})).unwrap();
    let convert = |planned: &Planned| {
        cache.convert(planned, Default::default(), &connector_core::engine::NoProgress, |_| {})
    };
    convert(&plan()).unwrap();
    for name in [WEIGHTS, "tokenizer.json"] {
        let planned = plan();
        convert(&planned).unwrap();
        set_time(&source.join(name), normal() + Duration::from_secs(1));
        let error = convert(&planned).unwrap_err();
        let Error::Store(store::Error::SourceChanged { path }) = &error else { panic!("{error}") };
        assert!(path.ends_with(name), "{error}");
    }
}

/// Something that happens to a source.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Nothing,
    EditInPlace,
    RenameOver,
    RestoreTime,
    Touch,
    Retarget,
    CopyOther,
}

fn deeds() -> impl Strategy<Value = Vec<(usize, &'static str, Deed)>> {
    use Deed::{CopyOther, EditInPlace, Nothing, RenameOver, RestoreTime, Retarget, Touch};
    let deed = prop::sample::select(vec![
        Nothing,
        EditInPlace,
        RenameOver,
        RestoreTime,
        Touch,
        Retarget,
        CopyOther,
    ]);
    let file = prop::sample::select(vec![WEIGHTS, "tokenizer.json"]);
    prop::collection::vec((0..2_usize, file, deed), 8)
}

/// Two checkpoints of the same names, lengths and times in folders of the same name, each of whose
/// files is a link to one of two.
struct World {
    dir: tempfile::TempDir,
    fresh: usize,
}

impl World {
    fn new() -> Self {
        let world = World { dir: tempfile::tempdir().unwrap(), fresh: 0 };
        let model = Model::fixture("llama");
        for number in 0..2 {
            let source = world.source(number);
            model.write(&source);
            for name in [WEIGHTS, "tokenizer.json"] {
                let [one, two] = ["1", "2"].map(|end| source.join(format!(".{name}.{end}")));
                fs::rename(source.join(name), &one).unwrap();
                fs::copy(&one, &two).unwrap();
                flip(&two);
                symlink(&one, source.join(name)).unwrap();
            }
            normalise(&source);
        }
        world
    }

    fn source(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("{number}/hf"))
    }

    fn does(&mut self, (number, name, deed): (usize, &str, Deed)) {
        let path = self.source(number).join(name);
        let leads_to = fs::read_link(&path).unwrap();
        match deed {
            Deed::Nothing => {}
            Deed::EditInPlace => flip(&path),
            Deed::RenameOver => {
                self.fresh += 1;
                let new = self.dir.path().join(format!("new-{}", self.fresh));
                fs::copy(&path, &new).unwrap();
                flip(&new);
                fs::rename(&new, &leads_to).unwrap();
            }
            Deed::RestoreTime => set_time(&path, normal()),
            Deed::Touch => set_time(&path, SystemTime::now()),
            Deed::Retarget => {
                let text = leads_to.to_str().unwrap();
                let (stem, end) = text.split_at(text.len() - 1);
                fs::remove_file(&path).unwrap();
                symlink(format!("{stem}{}", if end == "1" { "2" } else { "1" }), &path).unwrap();
            }
            Deed::CopyOther => {
                fs::copy(self.source(1 - number).join(name), &path).unwrap();
            }
        }
        if !matches!(deed, Deed::Touch) {
            set_time(&path, normal());
        }
    }

    /// What the files of a source hold.
    fn bytes(&self, number: usize) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.source(number)).unwrap().map(Result::unwrap);
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let seen = names.filter(|name| !name.starts_with('.'));
        seen.map(|name| (name.clone(), fs::read(self.source(number).join(name)).unwrap())).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..Default::default() })]

    #[test]
    fn different_bytes_are_never_a_hit(deeds in deeds()) {
        let mut world = World::new();
        let cache = Cache::at("cache");
        let place = |world: &World, number: usize| {
            let planned = Planned::import(world.source(number), options(|_| {})).unwrap();
            cache.place(&planned).unwrap()
        };
        let mut known = HashMap::new();
        for number in [0, 1] {
            known.insert(place(&world, number), world.bytes(number));
        }
        prop_assert_eq!(known.len(), 2);
        for deed in deeds {
            world.does(deed);
            let (place, again) = (place(&world, deed.0), place(&world, deed.0));
            prop_assert_eq!(&place, &again, "nothing happened after {:?}", deed);
            let bytes = world.bytes(deed.0);
            let stored = known.entry(place).or_insert_with(|| bytes.clone());
            prop_assert!(*stored == bytes, "{deed:?} found what other bytes became");
        }
    }
}

//! The cache of conversions: what the key tells apart, two processes at once, killed ones.

use connector_tests::{Child, Ended, HubServer, MODEL, Model, fixture, tree};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// A cache of conversions and one of the hub, both empty, and a checkpoint in `source`.
struct Case {
    dir: tempfile::TempDir,
    endpoint: String,
}

impl Case {
    fn new() -> Self {
        let case =
            Case { dir: tempfile::tempdir().unwrap(), endpoint: "http://127.0.0.1:9".into() };
        Model::fixture("llama").write(&case.source());
        case
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// The conversions.
    fn root(&self) -> PathBuf {
        self.dir.path().join("nemo/connector")
    }

    fn child(&self, args: &[&str]) -> Child {
        Child::new(PROGRAM, args)
            .env("NEMO_HOME", self.dir.path().join("nemo"))
            .env("HF_HOME", self.dir.path().join("hf"))
            .env("HF_ENDPOINT", &self.endpoint)
    }

    fn import(&self, args: &[&str]) -> Child {
        let source = self.source();
        self.child(&[&["import", source.to_str().unwrap()], args].concat())
    }

    /// Runs, and says whether it converted or found.
    #[track_caller]
    fn converts(&self, args: &[&str]) -> bool {
        done(&self.import(args).run())
    }

    /// The entries, by the folders they are in.
    fn entries(&self) -> Vec<PathBuf> {
        let json = self.json(&["cache", "ls"]);
        let entries = json["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["path"].as_str().unwrap().into()).collect()
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let ended = self.child(args).arg("--json").run();
        serde_json::from_str(&ended.text).unwrap_or_else(|_| panic!("{}", ended.text))
    }

    /// The names of files that unfinished runs leave.
    fn leftovers(&self) -> Vec<String> {
        if !self.root().exists() {
            return Vec::new();
        }
        // Folders may go while they are listed: another process is at work.
        let mut names = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                names.push(entry.file_name().to_string_lossy().into_owned());
                folders.push(entry.path());
            }
        }
        names.retain(|name| name.contains(".connector-"));
        names
    }
}

/// Whether a run that succeeded converted; otherwise it found what was there.
#[track_caller]
fn done(ended: &Ended) -> bool {
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let (done, cached) = (ended.text.contains("\n  done "), ended.text.contains("\n  cached "));
    assert!(done != cached, "{}", ended.text);
    done
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_second_import_finds_the_first_ones() {
    let case = Case::new();
    assert!(case.converts(&[]));
    let ended = case.import(&[]).run();
    assert!(!done(&ended));
    let text = ended.text.replace("\n           ", " ");
    assert!(text.contains("same files, same mapping)") && text.contains("(converted 20"), "{text}");
    let json = case.json(&["import", case.source().to_str().unwrap()]);
    assert_eq!((&json["cached"], &json["result"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(case.entries(), [PathBuf::from(json["output"].as_str().unwrap())]);
    assert!(case.root().join("_local/source").is_dir());
}

#[test]
fn another_option_or_source_is_another_conversion() {
    let case = Case::new();
    let options: [&[&str]; 9] = [
        &[],
        &["--dtype", "bf16"],
        &["--dtype", "f16"],
        &["--max-shard-size", "100kB"],
        &["--hash"],
        &["--pad-vocab-to-multiple-of", "64"],
        &["--only", "decoder.**"],
        &["--container", "torch_dist"],
        &["--container", "torch_dist", "--layout", "per-layer"],
    ];
    for (number, args) in options.into_iter().enumerate() {
        assert!(case.converts(args), "{args:?}");
        assert_eq!(case.entries().len(), number + 1, "{args:?}");
    }
    for args in options {
        assert!(!case.converts(args), "{args:?}");
    }
    // Whatever the container, its files are held against the record.
    let checked = case.child(&["cache", "verify"]).run();
    assert_eq!(checked.code, Some(0), "{}", checked.text);
    // What does not show in the output is no part of the key.
    assert!(!case.converts(&["--threads", "1", "--max-memory", "1GiB"]));

    // Another time, another length, another header, one file more.
    let source = case.source();
    let weights = source.join("model.safetensors");
    let touched = fs::File::options().append(true).open(&weights).unwrap();
    touched.set_modified(std::time::SystemTime::now() + Duration::from_secs(5)).unwrap();
    assert!(case.converts(&[]));
    fs::write(source.join("tokenizer_config.json"), "{}").unwrap();
    assert!(case.converts(&[]));
    fs::write(source.join("extra.txt"), "").unwrap();
    assert!(case.converts(&[]));
    assert!(!case.converts(&[]));
}

#[test]
fn a_config_that_says_something_else_is_another_conversion() {
    let case = Case::new();
    assert!(case.converts(&[]));
    let config = case.source().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    let modified = fs::metadata(&config).unwrap().modified().unwrap();
    // The same length and time, as if by chance: the plan sees it.
    fs::write(&config, text.replace("1e-06", "1e-05").replace("10000.0", "20000.0")).unwrap();
    assert_ne!(fs::read_to_string(&config).unwrap(), text);
    fs::File::options().append(true).open(&config).unwrap().set_modified(modified).unwrap();
    assert!(case.converts(&[]));
}

#[test]
fn a_damaged_entry_is_no_hit() {
    let case = Case::new();
    assert!(case.converts(&["--hash"]));
    let entry = case.entries().remove(0);
    let spoils: [fn(&Path); 4] = [
        |entry| fs::remove_file(entry.join("context/tokenizer.json")).unwrap(),
        |entry| fs::remove_file(entry.join("conversion.json")).unwrap(),
        |entry| fs::write(entry.join("conversion.json"), "{").unwrap(),
        |entry| {
            let weights = entry.join("weights/model.safetensors");
            fs::File::options().write(true).open(weights).unwrap().set_len(1000).unwrap();
        },
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        spoil(&entry);
        assert!(case.json(&["cache", "ls"])["entries"][0]["damage"].is_string(), "{number}");
        if number == 1 {
            // Without its record nothing says that it is ours; that is for a person to remove.
            let ended = case.import(&["--hash"]).run();
            assert_eq!(ended.code, Some(2), "{}", ended.text);
            let swept = case.child(&["cache", "gc"]).run().text;
            assert!(swept.contains("nothing") && entry.is_dir(), "{swept}");
            fs::write(entry.join("conversion.json"), "{}").unwrap();
        }
        assert!(case.converts(&["--hash"]), "{number}");
        assert!(!case.converts(&["--hash"]), "{number}");
    }
}

#[test]
fn two_imports_at_once_are_one() {
    let case = Case::new();
    let first = case.import(&[]).failpoints("conversion.written=sleep:1500").start();
    wait_for("the lock", || case.leftovers().iter().any(|name| name.ends_with("-lock")));
    wait_for("the staging folder", || !case.leftovers().is_empty());
    let second = case.import(&[]).run();
    assert!(!done(&second));
    let text = second.text.replace("\n           ", " ");
    assert!(text.contains("waiting  pid ") && text.contains(" converts the same"), "{text}");
    assert!(text.contains(&format!("pid {}", first.id())), "{text}");
    assert!(done(&first.wait_with_output().unwrap().into()));
    assert_eq!((case.entries().len(), case.leftovers()), (1, vec![]));
}

#[test]
fn who_waits_for_one_that_fails_converts() {
    let case = Case::new();
    let points = "conversion.written=sleep:1000;conversion.finished=error";
    let first = case.import(&[]).failpoints(points).start();
    wait_for("the lock", || case.leftovers().iter().any(|name| name.ends_with("-lock")));
    assert!(case.converts(&[]));
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(4));
    assert_eq!((case.entries().len(), case.leftovers()), (1, vec![]));
}

#[test]
fn a_killed_import_is_no_hit_and_its_lock_no_obstacle() {
    for point in ["conversion.created", "conversion.written", "conversion.finished", "publish.sync"]
    {
        let case = Case::new();
        let ended = case.import(&[]).failpoints(&format!("{point}=abort")).run();
        assert_ne!(ended.code, Some(0), "{point}");
        assert!(case.entries().is_empty() && !case.leftovers().is_empty(), "{point}");
        assert!(case.converts(&[]), "{point}");
        assert_eq!(case.leftovers(), [""; 0], "{point}");
    }
}

#[test]
fn a_stale_lock_is_taken_over() {
    let case = Case::new();
    let path = case.json(&["cache", "path", case.source().to_str().unwrap()]);
    assert_eq!(path["cached"], false);
    let path = PathBuf::from(path["path"].as_str().unwrap());
    let parent = path.parent().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    fs::create_dir_all(parent).unwrap();
    // Of a process on another machine that is gone; the system holds no lock for it.
    fs::write(parent.join(format!(".{name}.connector-lock")), "pid 4000000 on gone").unwrap();
    fs::create_dir(parent.join(format!(".{name}.connector-staging"))).unwrap();
    assert!(case.converts(&[]));
    assert_eq!((case.entries(), case.leftovers()), (vec![path], vec![]));
}

#[test]
fn a_new_revision_is_converted_anew() {
    let mut case = Case::new();
    let server = HubServer::start(&fixture("llama/hf"));
    case.endpoint = server.endpoint();
    let import = |args: &[&str]| {
        let source = format!("hf://{MODEL}");
        case.child(&[&["import", &source], args].concat()).run()
    };
    let first = import(&[]);
    assert!(done(&first));
    assert!(first.text.contains("source   org/tiny @ "), "{}", first.text);
    let again = import(&[]);
    assert!(!done(&again));
    assert!(again.text.replace("\n           ", " ").contains("same revision"), "{}", again.text);
    assert!(done(&import(&["--dtype", "bf16"])));
    assert_eq!(case.entries().len(), 2);

    // The branch moves on.
    let mut model = Model::fixture("llama");
    model.tensors[0].bytes[0] ^= 1;
    fs::remove_dir_all(case.source()).unwrap();
    model.write(&case.source());
    server.publish(&case.source());
    assert!(done(&import(&[])));
    assert!(!done(&import(&[])));
    assert_eq!(case.entries().len(), 3);
    assert!(case.entries().iter().all(|entry| entry.starts_with(case.root().join(MODEL))));

    // Every command takes the address.
    drop(server);
    let (source, entry) = (format!("hf://{MODEL}"), case.entries().remove(0));
    for args in [
        &["plan", &source][..],
        &["inspect", &source],
        &["scaffold", &source],
        &["explain", &source, "lm_head.weight"],
        &["diff", &source, &source],
        &["cache", "path", &source],
        &["import", &source, "--dry-run"],
    ] {
        let ended = case.child(args).run();
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.text);
    }
    let ended = case.child(&["verify", &source, entry.to_str().unwrap()]).run();
    assert!(matches!(ended.code, Some(0 | 5)), "{}", ended.text);
}

#[test]
fn the_cache_is_listed_checked_and_cleared() {
    let case = Case::new();
    assert!(case.child(&["cache", "ls"]).run().text.contains("is empty"));
    assert!(case.converts(&["--hash"]) && case.converts(&["--dtype", "bf16"]));
    let listed = case.child(&["cache", "ls"]).run().text;
    assert!(listed.contains("LlamaModel") && listed.contains("bf16"), "{listed}");
    let source = case.source();
    let path = case.child(&["cache", "path", source.to_str().unwrap(), "--hash"]).run().text;
    assert!(case.entries().contains(&PathBuf::from(path.trim())), "{path}");

    let verified = case.child(&["cache", "verify"]).run();
    assert_eq!(verified.code, Some(0), "{}", verified.text);
    assert!(verified.text.contains("every byte") && verified.text.contains("lengths and headers"));
    let weights = PathBuf::from(path.trim()).join("weights/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let verified = case.child(&["cache", "verify", "_local/source"]).run();
    assert_eq!(verified.code, Some(5), "{}", verified.text);
    assert!(verified.text.contains("its bytes are not those"), "{}", verified.text);

    // Not one of them, but the cache itself and what is around it: an unset variable means nothing.
    for name in ["", ".", "/", "hf://", ".."] {
        assert_eq!(case.child(&["cache", "rm", name]).run().code, Some(2), "{name:?}");
    }
    let unknown = case.child(&["cache", "rm", "org/none"]).run();
    assert_eq!(unknown.code, Some(2), "{}", unknown.text);
    let removed = case.child(&["cache", "rm", path.trim()]).run();
    assert_eq!(removed.code, Some(0), "{}", removed.text);
    assert_eq!(case.entries().len(), 1);

    // A killed run, and an entry that lost a file.
    case.import(&["--dtype", "f16"]).failpoints("conversion.written=abort").run();
    fs::remove_file(case.entries()[0].join("context/model.yaml")).unwrap();
    let before = tree(&case.root());
    let dry = case.child(&["cache", "gc", "--dry-run"]).run();
    assert!(dry.text.contains("killed") && dry.text.contains("damaged"), "{}", dry.text);
    assert!(tree(&case.root()) == before);
    let swept = case.child(&["cache", "gc"]).run();
    assert_eq!(swept.code, Some(0), "{}", swept.text);
    assert_eq!((case.entries().len(), case.leftovers()), (0, vec![]));
    assert!(case.child(&["cache", "gc"]).run().text.contains("nothing"));
    assert!(case.converts(&[]));
    assert!(case.child(&["cache", "gc", "--older-than", "1"]).run().text.contains("nothing"));
    assert!(case.child(&["cache", "gc", "--older-than", "0"]).run().text.contains("old"));
    assert!(case.entries().is_empty());
}

/// What lies in the cache's folder and is somebody else's stays, and nothing that a link leads to is
/// in the cache.
#[cfg(unix)]
#[test]
fn what_connector_did_not_make_is_not_removed() {
    use std::os::unix::fs::symlink;
    let case = Case::new();
    assert!(case.converts(&[]));
    let entry = case.entries().remove(0);
    let (data, root) = (case.dir.path().join("data"), case.root());
    // An entry of another cache, whose record is damaged, behind a link.
    let beyond = data.join("model/0123456789abcdef");
    fs::create_dir_all(&beyond).unwrap();
    fs::copy(entry.join("conversion.json"), beyond.join("conversion.json")).unwrap();
    fs::create_dir_all(data.join("model/.0123456789abcdef.connector-staging")).unwrap();
    fs::create_dir_all(root.join("org/model")).unwrap();
    symlink(&data, root.join("linked")).unwrap();
    symlink(data.join("model"), root.join("org/linked")).unwrap();
    symlink(&beyond, root.join("org/model/fedcba9876543210")).unwrap();
    // Folders of a person, one of them with a record, one with a name as entries have it.
    for name in ["mine", "abcdef0123456789", ".thesis.connector-staging"] {
        fs::create_dir_all(root.join("org/model").join(name)).unwrap();
        fs::write(root.join("org/model").join(name).join("thesis"), "thesis").unwrap();
    }
    let record = root.join("org/model/mine/conversion.json");
    fs::copy(entry.join("conversion.json"), record).unwrap();
    let record = root.join("org/model/abcdef0123456789/conversion.json");
    fs::write(record, r#"{"schema": "connector.conversion/2", "tool": "connector 9"}"#).unwrap();

    let before = (tree(&data), tree(&root.join("org")));
    for args in [&["cache", "gc"][..], &["cache", "gc", "--older-than", "1"]] {
        let swept = case.child(args).run();
        assert_eq!(swept.code, Some(0), "{}", swept.text);
        assert!(swept.text.contains("nothing"), "{}", swept.text);
    }
    let mine = root.join("org/model/mine");
    for name in ["org/model/mine", "org/model", "org", mine.to_str().unwrap()] {
        let removed = case.child(&["cache", "rm", name]).run();
        assert_eq!(removed.code, Some(2), "{name}: {}", removed.text);
        let text = removed.text.replace('\n', " ");
        assert!(text.contains("is not removed") && text.contains("yourself"), "{text}");
    }
    for name in ["linked", "linked/model/0123456789abcdef", "org/linked", "../../data"] {
        let removed = case.child(&["cache", "rm", name]).run();
        assert_eq!(removed.code, Some(2), "{name}: {}", removed.text);
    }
    assert!((tree(&data), tree(&root.join("org"))) == before);
    // All that is left of ours goes.
    assert_eq!(case.child(&["cache", "rm", "_local"]).run().code, Some(0));
    assert!(!entry.exists() && (tree(&data), tree(&root.join("org"))) == before);
}

/// A run that is killed when its entry is there already leaves a lock; the next one finds the entry.
#[test]
fn a_hit_removes_what_a_killed_run_left() {
    let case = Case::new();
    case.import(&[]).failpoints("publish.renamed=abort").run();
    assert!(cfg!(windows) || !case.leftovers().is_empty());
    assert!(!case.converts(&[]));
    assert_eq!(case.leftovers(), [""; 0]);
    case.import(&["--overwrite"]).failpoints("publish.renamed=abort").run();
    assert!(case.leftovers().iter().any(|name| name.ends_with("-staging")));
    assert!(!case.converts(&[]));
    assert_eq!(case.leftovers(), [""; 0]);
}

/// Without locks two imports at once are two, and one of them is kept.
#[test]
fn without_locks_the_first_import_counts() {
    const NO_LOCKS: &str = "lock.supported=error";
    let case = Case::new();
    let slow = format!("{NO_LOCKS};conversion.written=sleep:1500");
    let first = case.import(&[]).failpoints(&slow).start();
    wait_for("the staging folder", || !case.leftovers().is_empty());
    assert!(done(&case.import(&[]).failpoints(NO_LOCKS).run()));
    assert!(!done(&first.wait_with_output().unwrap().into()));
    assert_eq!((case.entries().len(), case.leftovers()), (1, vec![]));
    // What a killed one left is found, since it is known to be gone.
    let points = format!("{NO_LOCKS};conversion.written=abort");
    case.import(&["--dtype", "bf16"]).failpoints(&points).run();
    assert_eq!(case.leftovers().len(), usize::from(cfg!(target_os = "linux")));
    let swept = case.child(&["cache", "gc"]).run();
    assert!(swept.text.contains("killed"), "{}", swept.text);
    assert_eq!(case.leftovers(), [""; 0]);
}

#[test]
fn what_is_being_written_is_not_removed() {
    let case = Case::new();
    assert!(case.converts(&[]));
    let run = case.import(&["--overwrite"]).failpoints("conversion.written=sleep:1500").start();
    wait_for("the lock", || case.leftovers().iter().any(|name| name.ends_with("-lock")));
    let removed = case.child(&["cache", "rm", "_local/source"]).run();
    assert_eq!(removed.code, Some(4), "{}", removed.text);
    assert!(removed.text.contains("another process"), "{}", removed.text);
    case.child(&["cache", "gc"]).run();
    assert!(done(&run.wait_with_output().unwrap().into()));
    assert_eq!((case.entries().len(), case.leftovers()), (1, vec![]));
}

#[test]
fn nemos_own_cache_gets_what_nemo_loads_where_nemo_looks() {
    let mut case = Case::new();
    let server = HubServer::start(&fixture("llama/hf"));
    case.endpoint = server.endpoint();
    let address = format!("hf://{MODEL}");
    let models = case.dir.path().join("nemo/models");
    let hub =
        |args: &[&str]| case.child(&[&["import", &address, "--nemo-cache"], args].concat()).run();
    let ended = hub(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(models.join(MODEL).join("weights/.metadata").is_file());
    assert!(models.join(MODEL).join("context/model.yaml").is_file());
    // Anybody's that is there stays, unless it is ours and to be replaced.
    let again = hub(&[]);
    assert_eq!(again.code, Some(2), "{}", again.text);
    assert!(again.text.contains("--overwrite"), "{}", again.text);
    assert_eq!(hub(&["--overwrite"]).code, Some(0));
    fs::remove_file(models.join(MODEL).join("conversion.json")).unwrap();
    assert_eq!(hub(&["--overwrite"]).code, Some(2));

    // A directory has its own name, and NEMO_MODELS_CACHE goes first.
    let other = case.dir.path().join("other");
    let ended = case.import(&["--nemo-cache"]).env("NEMO_MODELS_CACHE", &other).run();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(other.join("source/weights/.metadata").is_file());
    assert_eq!(case.import(&["--nemo-cache", "--dry-run"]).run().code, Some(0));
    assert!(!models.join("source").exists());
    for args in [["--container", "safetensors"], ["--output", "x"]] {
        let ended = case.import(&[&["--nemo-cache"][..], &args].concat()).run();
        assert_eq!(ended.code, Some(2), "{}", ended.text);
    }
    // It is not connector's own cache.
    assert_eq!((case.entries(), case.leftovers()), (vec![], vec![]));
}

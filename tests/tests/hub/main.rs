//! Models of the hub: the shared cache, downloads that fail half-way, messages that help, servers
//! that lie.

mod case;
mod lies;
mod stops;
mod token;

use case::{Case, assert_same};
use connector_core::Cancel;
use connector_core::connector::hub::{Hub, HubErrorKind, HubProgress, Origin, Token};
use connector_tests::{MODEL, Model, contents, fixture};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn downloaded_once_then_offline() {
    let mut case = Case::new();
    let snapshot = case.fetch("").unwrap();
    assert_same(&snapshot, &fixture("llama/hf"));
    assert!(snapshot.starts_with(case.hub.cache.join("models--org--tiny/snapshots")));
    assert!(case.names().iter().all(|name| !name.contains("connector-")), "{:?}", case.names());
    assert!(!case.server.asked().is_empty());

    // Then the server is only asked whether the branch has moved, and of a commit not even that.
    assert_eq!(case.fetch("").unwrap(), snapshot);
    assert_eq!(case.server.asked(), [format!("/api/models/{MODEL}/revision/main")]);
    let commit = snapshot.file_name().unwrap().to_str().unwrap();
    assert_eq!(case.fetch(&format!("@{commit}")).unwrap(), snapshot);
    assert_eq!(case.server.asked(), [""; 0]);
    case.hub.offline = true;
    assert_eq!(case.fetch("").unwrap(), snapshot);
    assert_eq!(case.fetch("@main").unwrap(), snapshot);
    let (error, help) = case.fails("@v2");
    assert!(matches!(error.kind, HubErrorKind::Offline(_)), "{error}");
    assert!(help.contains("HF_HUB_OFFLINE"), "{help}");
}

#[test]
fn a_cache_of_other_tools_is_completed() {
    let case = Case::new();
    let snapshot = case.fetch("").unwrap();
    // As candle's programs leave it: config and weights only, and then less.
    for (gone, asked) in [("tokenizer.json", false), ("model.safetensors", true)] {
        for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", gone] {
            let _ = fs::remove_file(snapshot.join(name));
        }
        let mut offline = case.hub.clone();
        offline.offline = true;
        let origin = Origin::new(format!("hf://{MODEL}")).unwrap();
        let found = origin.fetch(&offline, &(), &Cancel::default());
        match found {
            Ok(_) => assert!(!asked),
            Err(error) => {
                assert!(asked && error.to_string().contains("model.safetensors"), "{error}")
            }
        }
        case.server.asked();
        assert_eq!(case.fetch("").unwrap(), snapshot);
        assert_same(&snapshot, &fixture("llama/hf"));
        // What lies in the cache already is linked; only its length and hash are asked for.
        let content = case.server.asked().iter().filter(|path| path.contains("/content/")).count();
        assert!(content <= 1, "{content} requests for the weights");
    }
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    #[derive(Default)]
    struct Count(AtomicU64, AtomicU64);
    impl HubProgress for Count {
        fn begin(&self, _: usize, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn advance(&self, bytes: u64) {
            self.1.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    // Within one run, and with more interruptions than a run bears.
    for cuts in [1, 7] {
        let case = Case::new();
        case.server.faults(|faults| faults.cuts = cuts);
        if cuts > 5 {
            let (error, help) = case.fails("");
            assert!(
                error.to_string().contains("model.safetensors could not be downloaded"),
                "{error}"
            );
            assert!(help.contains("goes on where it stopped"), "{help}");
            let part = case.names().into_iter().find(|name| name.ends_with(".part"));
            let part = case.dir.path().join(part.expect("what arrived is kept"));
            assert!(fs::metadata(part).unwrap().len() > 100_000);
            case.assert_sound();
        }
        let (count, origin) = (Count::default(), Origin::new(format!("hf://{MODEL}")).unwrap());
        let snapshot = origin.fetch(&case.hub, &count, &Cancel::default()).unwrap();
        assert_same(&snapshot, &fixture("llama/hf"));
        assert_eq!(count.0.into_inner(), count.1.into_inner(), "{cuts} cuts");
        assert!(case.names().iter().all(|name| !name.contains("connector-")));
    }
}

#[test]
fn a_server_that_cannot_go_on_is_asked_for_all() {
    let case = Case::new();
    case.server.faults(|faults| (faults.cuts, faults.no_ranges) = (1, true));
    assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
    case.assert_sound();
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let case = Case::new();
    case.server.faults(|faults| faults.unavailable = 2);
    assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
}

#[test]
fn a_damaged_file_is_never_in_the_cache() {
    // Damaged once it is downloaded anew; damaged twice it is refused.
    for (flips, bytes) in [(1, true), (2, false)] {
        let case = Case::new();
        case.server.faults(|faults| faults.flips = flips);
        if bytes {
            assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
        } else {
            let (error, _) = case.fails("");
            assert!(matches!(error.kind, HubErrorKind::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("127.0.0.1:"), "{error}");
            assert!(error.to_string().contains("its hash is not the one"), "{error}");
            case.assert_sound();
            assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
        }
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let mut case = Case::new();
    case.server.faults(|faults| faults.token = Some("good".into()));
    for (token, want) in [(None, "no token was sent"), (Some("bad"), "not valid")] {
        case.hub.token = token.map(|token| Token(token.into()));
        let (error, help) = case.fails("");
        assert!(error.to_string().contains(want), "{error}");
        assert!(help.contains("HF_TOKEN") && help.contains("licence"), "{help}");
    }
    case.hub.token = Some(Token("good".into()));
    case.fetch("").unwrap();

    let (error, help) = case.fails("@no-such-branch");
    assert!(matches!(error.kind, HubErrorKind::NotFound), "{error}");
    assert!(error.address.ends_with("@no-such-branch") && help.contains("spelling"), "{help}");
    let nobody = Origin::new("hf://nobody/nothing").unwrap();
    let error = nobody.fetch(&case.hub, &(), &Cancel::default()).unwrap_err().to_string();
    assert!(error.contains("hf://nobody/nothing"), "{error}");
}

#[test]
fn a_revision_is_pinned() {
    let case = Case::new();
    let first = case.fetch("").unwrap();
    let commit = first.file_name().unwrap().to_str().unwrap().to_string();
    let other = tempfile::tempdir().unwrap();
    let mut model = Model::fixture("llama");
    model.tensors[0].bytes[0] ^= 1;
    model.write(other.path());
    let moved = case.server.publish(other.path());
    assert_ne!(moved, commit);
    case.server.asked();

    // A commit is that commit; the branch has moved, unless nobody may be asked.
    assert_eq!(case.fetch(&format!("@{}", &commit[..8])).unwrap(), first);
    let mut offline = case.hub.clone();
    offline.offline = true;
    let main = Origin::new(format!("hf://{MODEL}")).unwrap();
    assert_eq!(main.fetch(&offline, &(), &Cancel::default()).unwrap(), first);
    let second = case.fetch("").unwrap();
    assert_same(&second, other.path());
    assert_eq!(case.fetch(&format!("@{moved}")).unwrap(), second);
    assert_eq!(main.fetch(&offline, &(), &Cancel::default()).unwrap(), second);
    // The old one is still there.
    assert_eq!(case.fetch(&format!("@{commit}")).unwrap(), first);
    // Of what both have, only its length and hash were asked for.
    let asked = case.server.asked();
    assert_eq!(asked.iter().filter(|path| path.ends_with("/tokenizer.json")).count(), 1);
}

#[test]
fn a_hub_that_cannot_be_asked_is_no_obstacle_to_what_the_cache_has() {
    #[derive(Default)]
    struct Warned(Mutex<Vec<String>>);
    impl HubProgress for Warned {
        fn warn(&self, text: &str) {
            self.0.lock().unwrap().push(text.into());
        }
    }
    let mut case = Case::new();
    let snapshot = case.fetch("").unwrap();
    let main = Origin::new(format!("hf://{MODEL}")).unwrap();
    let ask = |hub: &Hub| {
        let warned = Warned::default();
        let found = main.fetch(hub, &warned, &Cancel::default()).unwrap();
        assert_eq!(found, snapshot);
        warned.0.into_inner().unwrap().join("; ")
    };
    assert_eq!(ask(&case.hub), "");
    case.server.faults(|faults| faults.unavailable = 1);
    assert!(ask(&case.hub).contains("503"));
    case.server.faults(|faults| faults.token = Some("good".into()));
    assert!(ask(&case.hub).contains("401"));
    case.hub.patience = Duration::from_millis(200);
    case.server.faults(|faults| faults.silent = true);
    assert!(ask(&case.hub).contains("did not answer within 200ms"));
    case.hub.endpoint = "http://127.0.0.1:9".into();
    let warned = ask(&case.hub);
    assert!(warned.contains("main of org/tiny") && warned.contains("of the cache is taken"));
}

#[test]
fn names_that_lead_out_of_the_cache_write_nothing() {
    let hostile: [fn(&mut connector_tests::Faults); 3] = [
        |faults| faults.lists = Some("../../evil.json".into()),
        |faults| faults.lists = Some("/tmp/evil.json".into()),
        |faults| faults.etag = Some("../../../evil".into()),
    ];
    for change in hostile {
        let case = Case::new();
        case.server.faults(change);
        let (error, help) = case.fails("");
        assert!(matches!(error.kind, HubErrorKind::Protocol { .. }), "{error}");
        assert!(help.contains("HF_ENDPOINT"));
        let written = contents(case.dir.path()).unwrap();
        assert!(
            written.values().all(|file| file.as_ref().is_none_or(Vec::is_empty)),
            "{:?}",
            case.names()
        );
    }
}

#[test]
fn what_cannot_be_imported_is_not_downloaded() {
    let dir = tempfile::tempdir().unwrap();
    for (name, want) in [("adapter_model.bin", "no pytorch_model.bin"), ("x.txt", "no safetensors")]
    {
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        fs::write(dir.path().join(name), "x").unwrap();
        let case = Case::new();
        case.server.publish(dir.path());
        let (error, _) = case.fails("");
        assert!(error.to_string().contains(want), "{error}");
        assert!(!case.server.asked().iter().any(|path| path.contains("/resolve/")));
        fs::remove_file(dir.path().join(name)).unwrap();
    }
}

#[test]
fn without_safetensors_what_torch_saved_is_downloaded() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(fixture("llama/hf").join(name), dir.path().join(name)).unwrap();
    }
    for entry in fs::read_dir(fixture("torch_save/sharded")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let case = Case::new();
    case.server.publish(dir.path());
    let snapshot = case.fetch("").unwrap();
    assert_same(&snapshot, dir.path());
    // And is found to be whole, or not.
    case.server.asked();
    assert_eq!(case.fetch("").unwrap(), snapshot);
    assert_eq!(case.server.asked().len(), 1);
    fs::remove_file(snapshot.join("pytorch_model-00002-of-00002.bin")).unwrap();
    case.fetch("").unwrap();
    assert_same(&snapshot, dir.path());
}

#[test]
fn two_downloads_at_once_are_one() {
    #[derive(Default)]
    struct Waits(Mutex<Vec<String>>);
    impl HubProgress for Waits {
        fn waiting(&self, owner: &str) {
            self.0.lock().unwrap().push(owner.into());
        }
    }
    let (case, waits) = (Case::new(), Waits::default());
    let origin = Origin::new(format!("hf://{MODEL}")).unwrap();
    let snapshots: Vec<PathBuf> = std::thread::scope(|scope| {
        let fetch = || origin.fetch(&case.hub, &waits, &Cancel::default()).unwrap();
        let both = [scope.spawn(fetch), scope.spawn(fetch)];
        both.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(snapshots[0], snapshots[1]);
    assert_same(&snapshots[0], &fixture("llama/hf"));
    let content = case.server.asked().iter().filter(|path| path.contains("/content/")).count();
    assert!(content <= 3, "{content} requests for the weights");
    // In the moment in which it takes the lock, the owner has no name yet.
    let named = |owner: &String| owner.starts_with("pid ") || owner == "another process";
    assert!(waits.0.into_inner().unwrap().iter().all(named));
}

//! Whatever a server says, no wrong file gets into the cache that all tools share.

use crate::case::{Case, assert_same};
use connector_core::connector::hub::{HubErrorKind, HubProgress, Origin};
use connector_core::{Cancel, Error, store};
use connector_tests::{Child, Content, Faults, List, MODEL, Redirect, fixture};
use std::fs;
use std::sync::Mutex;

type Lie = fn(&mut Faults);

/// What no hub says, and what the message says of it.
const LIES: [(Lie, &str); 23] = [
    // Of an empty file, which the ETag does not name.
    (|f| f.size = Some("0".into()), "the length 0 and an ETag that no empty file has"),
    (
        |f| (f.size, f.etag) = (Some("0".into()), Some("\"HASH-1\"".into())),
        "the length 0 and an ETag that no empty file has",
    ),
    // Lengths.
    (|f| f.size = Some("5".into()), "bytes where 5 were announced"),
    (|f| f.size = Some("1000000".into()), "bytes where 1000000 were announced"),
    (|f| f.size = Some(String::new()), "no commit, ETag or length"),
    (|f| f.size = Some("-1".into()), "something that is not HTTP"),
    (|f| f.size = Some("1e9".into()), "something that is not HTTP"),
    (|f| f.content = Some(Content::Longer), "bytes where 667 were announced"),
    (|f| f.content = Some(Content::ChunkedLonger), "more than the announced 667 bytes"),
    (|f| f.content = Some(Content::Endless), "more than the announced 667 bytes"),
    // Ranges.
    (
        |f| (f.cuts, f.range) = (1, Some("bytes 0-90819/181640".into())),
        "the range \"bytes 0-90819/181640\" where the one from byte 90820",
    ),
    (
        |f| (f.cuts, f.range) = (1, Some("bytes 90820-181639/7".into())),
        "where the one from byte 90820",
    ),
    (|f| (f.cuts, f.range) = (1, Some("all".into())), "where the one from byte 90820"),
    // Names.
    (|f| f.etag = Some(String::new()), "no commit, ETag or length"),
    (|f| f.etag = Some("\"../../x\"".into()), "the ETag \"\\\"../../x\\\"\""),
    (|f| f.commit = Some(String::new()), "no commit, ETag or length"),
    (|f| f.commit = Some("0123abc".into()), "the commit \"0123abc\""),
    // Redirects.
    (|f| f.redirect = Some(Redirect::Loop), "more than 10 redirects"),
    (|f| f.redirect = Some(Redirect::To(String::new())), "a redirect"),
    (
        |f| f.redirect = Some(Redirect::To("ftp://127.0.0.1/x".into())),
        "a redirect to no web address",
    ),
    (|f| f.redirect = Some(Redirect::To("http://".into())), "a redirect to no address"),
    // The list of files.
    (|f| f.list = Some(List::Half), "something that is not a list of files"),
    (|f| f.list = Some(List::Endless), "more than 16777216 bytes"),
];

#[test]
fn a_lie_is_named_and_leaves_nothing_in_the_cache() {
    for (number, (lie, want)) in LIES.into_iter().enumerate() {
        let case = Case::new();
        case.server.faults(lie);
        let (error, help) = case.fails("");
        let message = error.to_string();
        assert!(matches!(error.kind, HubErrorKind::Protocol { .. }), "{number}: {message}");
        let asked = |what| message.contains(&format!("asked for {what}, 127.0.0.1:"));
        let is_named = ["config.json", "model.safetensors", "the list of files"].map(asked);
        assert!(is_named.contains(&true), "{number}: {message}");
        assert!(message.contains(want), "{number}: {message}");
        assert!(help.contains("HF_ENDPOINT"), "{help}");
        case.assert_sound();
        // Nor is it in the way of the truth.
        case.server.faults(|_| {});
        assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
    }
}

#[test]
fn a_refusal_of_the_bytes_is_no_empty_file() {
    for status in ["416 Range Not Satisfiable", "404 Not Found", "204 No Content"] {
        for path in ["config.json", "model.safetensors"] {
            let case = Case::new();
            if path == "model.safetensors" {
                // What comes before it is there already.
                let snapshot = case.fetch("").unwrap();
                let blob = fs::canonicalize(snapshot.join(path)).unwrap();
                fs::remove_file(blob).unwrap();
            }
            case.server.faults(|faults| faults.content = Some(Content::Status(status)));
            let message = case.fails("").0.to_string();
            assert!(message.contains(path) && message.contains(" 127.0.0.1:"), "{message}");
            case.server.faults(|_| {});
            case.assert_sound();
            assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
        }
    }
}

#[test]
fn a_connection_that_ends_early_is_no_whole_list() {
    let case = Case::new();
    case.server.faults(|faults| faults.list = Some(List::Cut));
    let message = case.fails("").0.to_string();
    assert!(message.contains("the list of files could not be downloaded: 127.0.0.1:"), "{message}");
    assert_eq!(case.server.asked().len(), 5);
}

#[test]
fn what_is_true_in_another_way_is_taken() {
    let truths: [Lie; 4] = [
        |faults| faults.content = Some(Content::Chunked),
        |faults| faults.etag = Some("W/\"HASH\"".into()),
        |faults| faults.etag = Some("HASH".into()),
        |faults| (faults.cuts, faults.range) = (1, Some("bytes 90820-181639/*".into())),
    ];
    for truth in truths {
        let case = Case::new();
        case.server.faults(truth);
        let snapshot = case.fetch("").unwrap();
        assert_same(&snapshot, &fixture("llama/hf"));
        let blob = fs::canonicalize(snapshot.join("model.safetensors")).unwrap();
        assert_eq!(blob.file_name().unwrap().len(), 64, "{}", blob.display());
    }
}

#[test]
fn an_empty_file_is_one_whose_hash_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture("llama/hf")).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    fs::write(dir.path().join("NOTICE"), "").unwrap();
    let case = Case::new();
    case.server.publish(dir.path());
    let snapshot = case.fetch("").unwrap();
    assert_same(&snapshot, dir.path());
    let blob = fs::canonicalize(snapshot.join("NOTICE")).unwrap();
    assert!(blob.ends_with("blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
}

#[test]
fn a_mirror_without_hashes_is_checked_by_lengths() {
    let case = Case::new();
    case.server.faults(|faults| {
        (faults.etag, faults.cuts) = (Some("\"HASH-1\"".into()), 7);
    });
    // What arrived in another run cannot be told from what a power cut made of it.
    case.fails("");
    case.server.asked();
    case.server.faults(|faults| faults.etag = Some("\"HASH-1\"".into()));
    assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
    let (_, elsewhere) = case.server.requests();
    assert!(elsewhere.iter().all(|request| !request.contains("bytes=")), "{elsewhere:?}");
}

#[test]
fn a_file_of_the_cache_that_is_not_what_its_name_says_is_downloaded_anew() {
    #[derive(Default)]
    struct Warned(Mutex<Vec<String>>);
    impl HubProgress for Warned {
        fn warn(&self, text: &str) {
            self.0.lock().unwrap().push(text.into());
        }
    }
    let case = Case::new();
    let snapshot = case.fetch("").unwrap();
    let blob = fs::canonicalize(snapshot.join("model.safetensors")).unwrap();
    let whole = fs::read(&blob).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [changed, whole[..100].to_vec(), Vec::new()] {
        fs::write(&blob, damaged).unwrap();
        // As for a new commit, which has this file too.
        fs::remove_file(snapshot.join("model.safetensors")).unwrap();
        let (warned, origin) = (Warned::default(), Origin::new(format!("hf://{MODEL}")).unwrap());
        origin.fetch(&case.hub, &warned, &Cancel::default()).unwrap();
        assert_same(&snapshot, &fixture("llama/hf"));
        let warned = warned.0.into_inner().unwrap().join("; ");
        assert!(warned.contains("is not model.safetensors: it"), "{warned}");
    }
}

#[test]
fn the_program_ends_with_4() {
    let program = env!("CARGO_BIN_EXE_connector-under-test");
    let lies: [(Lie, &str); 3] = [
        (
            |faults| faults.size = Some("0".into()),
            "the length 0 and an ETag that no empty file has",
        ),
        (|faults| faults.content = Some(Content::Silent), "did not answer within 300ms"),
        (|faults| faults.content = Some(Content::Status("416 Range")), "answers with status 416"),
    ];
    for (lie, want) in lies {
        let case = Case::new();
        case.server.faults(lie);
        let out = case.dir.path().join("out");
        let ended = Child::import(program, "hf://org/tiny".as_ref(), &out)
            .env("HF_ENDPOINT", &case.hub.endpoint)
            .env("HF_HUB_CACHE", &case.hub.cache)
            .env("HF_HUB_ETAG_TIMEOUT", "0.3")
            .run();
        assert_eq!(ended.code, Some(4), "{}", ended.text);
        let text = ended.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(want) && text.contains("config.json"), "{text}");
        assert!(text.contains(" 127.0.0.1:") && !out.exists(), "{text}");
    }
}

#[test]
fn an_error_of_the_disk_names_the_file() {
    let case = Case::new();
    // A file stands where the folder of contents is to be.
    let model = case.hub.cache.join("models--org--tiny");
    fs::create_dir_all(&model).unwrap();
    fs::write(model.join("blobs"), "").unwrap();
    let error = case.fetch("").unwrap_err();
    assert!(
        matches!(&error, Error::Store(store::Error::Io { path, .. }) if path.starts_with(&model)),
        "{error}"
    );
}

//! Files beside the tensors: none is lost without a word, and none comes from where it should not.
#![cfg(unix)]

use connector_tests::{Bench, Child, Ended, Model, contents};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// A run, with its text in one line.
fn run(args: &[&str]) -> Ended {
    let Ended { code, text } = Child::new(PROGRAM, args).run();
    Ended { code, text: text.split_whitespace().collect::<Vec<_>>().join(" ") }
}

/// A fixture that is imported, and may be exported.
struct Desk {
    bench: Bench,
    source: String,
    out: String,
    back: String,
}

impl Desk {
    fn new() -> Self {
        let bench = Bench::new(&Model::fixture("llama"));
        bench.import(Default::default());
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_string();
        let (source, out, back) = (text(bench.source()), text(bench.out()), text(bench.back()));
        Desk { bench, source, out, back }
    }
}

/// Puts a link in the place of a file or folder, runs `look`, and puts it back.
fn with_link(place: &Path, target: &Path, look: impl FnOnce()) {
    let aside = place.with_file_name("aside.bin");
    let was_there = fs::rename(place, &aside).is_ok();
    symlink(target, place).unwrap();
    look();
    fs::remove_file(place).unwrap();
    if was_there {
        fs::rename(&aside, place).unwrap();
    }
}

/// A link to itself cannot be looked behind, whoever asks: what EIO and EACCES are to `stat`.
#[test]
fn what_cannot_be_looked_at_is_not_absent() {
    let desk = Desk::new();
    let Desk { source, out, back, .. } = &desk;
    let import = ["import", source, "-o", back];
    let export = ["export", out, "-o", back];
    let verify = ["verify", source, out];
    let same = ["verify", source, source];
    let generate = ["generate", out, "-p", "the", "--max-tokens", "1"];
    for (args, folder, name) in [
        (&import[..], source, "tokenizer.json"),
        (&import, source, "config.json"),
        (&import, source, "model.safetensors.index.json"),
        (&import, source, "weights"),
        (&import, source, "latest_checkpointed_iteration.txt"),
        (&export, out, "context"),
        (&export, out, "context/tokenizer.json"),
        (&export, out, "context/model.yaml"),
        (&export, out, "context/config.json"),
        (&export, out, "context/artifacts"),
        (&export, out, "weights/.metadata"),
        (&export, out, "weights/adapter_metadata.json"),
        (&verify, out, "conversion.json"),
        (&verify, source, "conversion.json"),
        (&verify, source, "config.json"),
        (&same, source, "config.json"),
        (&same, source, "tokenizer.json"),
        (&["verify", out, out], out, "context/model.yaml"),
        (&["diff", source, out], out, "weights"),
        (&["diff", source, out], source, "model.safetensors.index.json"),
        (&["inspect", source], source, "config.json"),
        (&["plan", source], source, "generation_config.json"),
        (&["convert", out, "-o", back], out, "context/tokenizer.json"),
        (&generate, out, "context/tokenizer.json"),
        (&generate, out, "context/generation_config.json"),
    ] {
        let place = Path::new(folder).join(name);
        with_link(&place, &place, || {
            let Ended { code, text } = run(args);
            assert_eq!(code, Some(4), "{args:?}, {name}: {text}");
            assert!(text.contains(&*place.to_string_lossy()), "{args:?}, {name}: {text}");
            assert!(!desk.bench.back().exists(), "{args:?}, {name}");
        });
    }
    assert_eq!(run(&verify).code, Some(0), "all is as it was");
}

#[test]
fn a_link_that_leads_nowhere_is_named_with_its_target() {
    let desk = Desk::new();
    let hub = desk.bench.dir().join("models--org--name/snapshots/0123abc");
    fs::create_dir_all(hub.parent().unwrap()).unwrap();
    fs::rename(&desk.source, &hub).unwrap();
    let import = ["import", hub.to_str().unwrap(), "-o", &desk.back];
    with_link(&hub.join("tokenizer.json"), "../../blobs/77".as_ref(), || {
        let Ended { code, text } = run(&import);
        assert_eq!(code, Some(4), "{text}");
        for want in [
            "0123abc/tokenizer.json: it is a link to ../../blobs/77, where nothing is",
            "the hub's cache of org/name is damaged: download it again",
            "`hf download org/name --revision 0123abc`",
        ] {
            assert!(text.contains(want), "{want}: {text}");
        }
        let Ended { code, text } = run(&[&import[..], &["--json"]].concat());
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("\"kind\": \"io\"") && text.contains("hf download"), "{text}");
    });
    assert_eq!(run(&import).code, Some(0));
}

#[test]
fn links_out_of_the_source_are_announced_and_pipes_refused() {
    let desk = Desk::new();
    let Desk { bench, source, back, .. } = &desk;
    let secret = bench.dir().join("secret");
    fs::write(&secret, "key").unwrap();
    let import = ["import", source, "-o", back];
    let link = bench.source().join("notes.txt");
    with_link(&link, &secret, || {
        let Ended { code, text } = run(&[&import[..], &["--dry-run", "--json"]].concat());
        assert_eq!(code, Some(0), "{text}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let warning = document["warnings"][0].as_str().unwrap();
        for path in [&link, &secret] {
            assert!(warning.contains(path.to_str().unwrap()), "{warning}");
        }
        let Ended { code, text } = run(&import);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("warning: ") && text.contains("leads out of the checkpoint"),
            "{text}"
        );
        assert_eq!(fs::read_to_string(bench.back().join("context/notes.txt")).unwrap(), "key");
        // What is beside the tensors of a checkpoint of training is looked at in the same way.
        fs::remove_dir_all(bench.back()).unwrap();
    });
    let inside = bench.out().join("context/notes.txt");
    with_link(&inside, &secret, || {
        for command in [&["export"][..], &["convert", "--container", "safetensors"]] {
            let Ended { code, text } = run(&[command, &[&desk.out, "-o", back]].concat());
            assert_eq!(code, Some(0), "{text}");
            assert!(text.contains("leads out of the checkpoint"), "{command:?}: {text}");
            fs::remove_dir_all(bench.back()).unwrap();
        }
    });
    with_link(&link, "/dev/zero".as_ref(), || {
        let Ended { code, text } = run(&import);
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("notes.txt is a device, where a file should be"), "{text}");
    });
    let _socket = UnixListener::bind(&link).unwrap();
    let Ended { code, text } = run(&import);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("notes.txt is a socket, where a file should be"), "{text}");
    assert!(contents(&bench.back()).is_none());
}

#[test]
fn a_file_keeps_its_permissions() {
    let desk = Desk::new();
    let Desk { bench, source, back, .. } = &desk;
    for (name, mode) in [("tokenizer.json", 0o400), ("generation_config.json", 0o600)] {
        fs::set_permissions(bench.source().join(name), Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(run(&["import", source, "-o", back]).code, Some(0));
    for name in ["tokenizer.json", "generation_config.json"] {
        let copy = bench.back().join("context").join(name);
        let mode = fs::metadata(&copy).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}: private, and its owner can write it");
    }
}

/// Names come from strangers; what a terminal would obey is shown as an escape.
#[test]
fn names_do_not_control_the_terminal() {
    const NAME: &str = "a\u{9b}2J\u{2028}b\u{202e}\u{2066}c\u{1b}[2J";
    let desk = Desk::new();
    let Desk { bench, source, back, .. } = &desk;
    let place = bench.source().join(format!("{NAME}.txt"));
    let other = bench.dir().join(NAME);
    fs::write(&other, "").unwrap();
    let other = other.to_str().unwrap();
    with_link(&place, other.as_ref(), || {
        for (args, code) in [
            (&["import", source, "-o", back, "--dry-run", "-vv"][..], 0),
            (&["import", source, "-o", back, "--dry-run", "--json"], 0),
            (&["import", other, "-o", back], 4),
            (&["import", other, "-o", back, "--json"], 4),
            (&["explain", source, NAME], 2),
            (&["import", source, &format!("--{NAME}")], 2),
            (&["import", source, &format!("--{NAME}"), "--json"], 2),
            (&[NAME], 2),
        ] {
            let Ended { code: found, text } = Child::new(PROGRAM, args).run();
            assert_eq!(found, Some(code), "{args:?}: {text:?}");
            let raw = |c: char| NAME.contains(c) && !c.is_ascii_graphic();
            assert!(!text.contains(raw), "{args:?}: {text:?}");
            assert!(text.contains("9b"), "{args:?}: {text:?}");
        }
    });
}

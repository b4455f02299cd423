//! The model that a run began with: no other takes its place.

use crate::support::{Desk, logits};
use connector_core::model::{LoadOptions, Loaded};
use connector_core::train::{Adapted, FineTuned, Lora, Trainer, finetune};
use connector_core::{AutoModel, AutoResume, Result};
use connector_tests::{Child, Ended};
use std::fs;
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// A run of the command line, with its text in one line.
fn command(args: &[&str]) -> Ended {
    let Ended { code, text } = Child::new(PROGRAM, args).run();
    Ended { code, text: text.split_whitespace().collect::<Vec<_>>().join(" ") }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The same model but for one byte of its weights, which no header tells.
fn another(desk: &Desk) -> PathBuf {
    let other = desk.dir.path().join("another");
    copy(&desk.base, &other);
    let weights = other.join("weights/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(weights, bytes).unwrap();
    other
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(path, to).unwrap()),
        }
    }
}

/// Goes on with the run, which is to have begun with the model at `base`.
fn go_on(desk: &Desk, trainer: &Trainer, base: &Path) -> Result<FineTuned> {
    let resume = AutoResume { import_path: Some(text(base).into()), ..desk.resume(trainer) };
    finetune::<AutoModel>(&desk.data, trainer, &resume)
}

fn settings(desk: &Desk, name: &str, peft: Option<Lora>) -> [Trainer; 2] {
    [1, 2].map(|max_steps| Trainer { max_steps, peft: peft.clone(), ..desk.trainer(name) })
}

fn lora() -> Option<Lora> {
    Some(Lora { dim: 2, ..Lora::default() })
}

#[test]
fn a_run_goes_on_with_the_model_that_it_began_with() {
    let desk = Desk::of("llama");
    let other = another(&desk);
    for (name, peft) in [("full", None), ("lora", lora())] {
        let [first, more] = settings(&desk, name, peft);
        assert_eq!(desk.run(&first).unwrap().base.as_deref(), Some(&*desk.base));
        let error = go_on(&desk, &more, &other).unwrap_err().to_string();
        for want in [text(&desk.base), text(&other), "is another one: their tensors differ"] {
            assert!(error.contains(want), "{name}: {error}");
        }
        // In the same place, another one.
        let aside = desk.dir.path().join("aside");
        fs::rename(&desk.base, &aside).unwrap();
        fs::rename(&other, &desk.base).unwrap();
        let error = go_on(&desk, &more, &desk.base).unwrap_err().to_string();
        assert!(error.contains("than the one that is in"), "{name}: {error}");
        fs::rename(&desk.base, &other).unwrap();
        // The same one in another place, which is where the run finds it from now on.
        let done = go_on(&desk, &more, &aside).unwrap();
        assert_eq!((done.resumed_at, done.base.as_deref()), (1, Some(&*aside)), "{name}");
        assert!(Loaded::open(&done.checkpoint, &LoadOptions::default()).is_ok());
        fs::rename(&aside, &desk.base).unwrap();
    }
}

/// Runs of earlier versions did not record what they began with.
#[test]
fn a_run_that_does_not_say_its_model_records_it_from_now_on() {
    let desk = Desk::of("llama");
    let other = another(&desk);
    for (name, peft) in [("full", None), ("lora", lora())] {
        let [first, more] = settings(&desk, name, peft.clone());
        let state = desk.run(&first).unwrap().checkpoint.join("training.json");
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        json.as_object_mut().unwrap().remove("base").unwrap();
        fs::write(&state, json.to_string()).unwrap();
        if peft.is_some() {
            // An adapter says where its model is.
            let error = go_on(&desk, &more, &other).unwrap_err().to_string();
            assert!(error.contains("is another one"), "{error}");
        }
        let done = go_on(&desk, &more, &desk.base).unwrap();
        assert_eq!((done.resumed_at, done.base.as_deref()), (1, Some(&*desk.base)), "{name}");
        let error = go_on(&desk, &more, &other).unwrap_err().to_string();
        assert!(error.contains("is another one"), "{name}: {error}");
    }
}

/// A full run has its own weights, so that the model that it began with may be removed.
#[test]
fn a_full_run_outlives_its_model() {
    let desk = Desk::of("llama");
    let [first, more] = settings(&desk, "run", None);
    desk.run(&first).unwrap();
    let other = another(&desk);
    fs::remove_dir_all(&desk.base).unwrap();
    assert!(go_on(&desk, &more, &other).is_err());
    assert_eq!(go_on(&desk, &more, &desk.base).unwrap().resumed_at, 1);
}

#[test]
fn the_model_of_an_adapter_can_be_given_again() {
    let desk = Desk::of("llama");
    let [first, more] = settings(&desk, "run", lora());
    let checkpoint = desk.run(&first).unwrap().checkpoint;
    let open = |base: Option<&Path>| Adapted::open_on(&checkpoint, base, Default::default());
    let want = logits(&open(None).unwrap().model().unwrap());
    let moved = desk.dir.path().join("moved");
    let other = another(&desk);
    fs::rename(&desk.base, &moved).unwrap();

    let error = open(None).unwrap_err().to_string();
    assert!(error.contains(&format!("{}, which is not there", desk.base.display())), "{error}");
    let error = open(Some(&other)).unwrap_err().to_string();
    assert!(error.contains(text(&desk.base)) && error.contains(text(&other)), "{error}");
    let adapted = open(Some(&moved)).unwrap();
    assert_eq!(adapted.base(), moved);
    assert_eq!(logits(&adapted.model().unwrap()), want);
    let mut options = LoadOptions::default();
    options.base = Some(moved.clone());
    let error = Loaded::open(&moved, &options).unwrap_err().to_string();
    assert!(error.contains("is no adapter's"), "{error}");
    // A run that goes on is given it, too.
    assert!(desk.run(&more).is_err());
    assert_eq!(go_on(&desk, &more, &moved).unwrap().base, Some(moved));
    assert!(open(None).is_ok());
}

#[test]
fn commands_take_the_folder_of_a_run() {
    let desk = Desk::of("llama");
    let [full, _] = settings(&desk, "full", None);
    let [adapter, _] = settings(&desk, "adapter", lora());
    let checkpoint = desk.run(&full).unwrap().checkpoint;
    desk.run(&adapter).unwrap();
    let moved = desk.dir.path().join("moved");
    fs::rename(&desk.base, &moved).unwrap();
    let place = |name: &str| desk.dir.path().join(name).to_str().unwrap().to_string();
    let (full, adapter, moved) = (place("full"), place("adapter"), text(&moved));
    let (ids, hf) = (place("ids"), place("hf"));
    let tokens = candle_core::Tensor::new(&[[1u32, 5, 9]], &candle_core::Device::Cpu).unwrap();
    candle_core::safetensors::save(&[("input_ids", tokens)].into(), &ids).unwrap();

    for (args, code, want) in [
        (&["export", &full, "-o", &hf][..], 0, "done"),
        (&["verify", &hf, &full], 0, "bit for bit"),
        (&["inspect", &full], 0, "default-last/weights"),
        (&["generate", &full, "-p", "the", "--max-tokens", "1"], 0, "done"),
        (&["logits", &full, "--ids", &ids, "-o", &place("l1")], 0, "default-last"),
        (&["generate", &adapter, "-p", "the", "--max-tokens", "1"], 4, "`--base DIR`"),
        (&["generate", &adapter, "-p", "the", "--max-tokens", "1", "--base", moved], 0, "done"),
        (&["logits", &adapter, "--ids", &ids, "-o", &place("l2"), "--base", moved], 0, "written"),
        (
            &["verify", &hf, &adapter, "--logits", "--base", moved, "--tolerance", "9"],
            0,
            "apart at most",
        ),
        (&["export", &adapter, "-o", &place("peft")], 4, "which is not there"),
        (&["export", &adapter, "-o", &place("peft"), "--base", moved], 0, moved),
        (&["merge", &adapter, "-o", &place("merged"), "--base", &full], 3, "their tensors differ"),
        // What was trained is no other form of what it began with, but what that was imported from is.
        (&["merge", &adapter, "-o", &place("merged"), "--base", moved], 0, moved),
        (&["export", &full, "-o", &place("x"), "--base", moved], 2, "is no adapter"),
        (&["export", text(desk.dir.path()), "-o", &place("x")], 4, "does not exist"),
    ] {
        let Ended { code: found, text } = command(args);
        assert_eq!(found, Some(code), "{args:?}: {text}");
        assert!(text.contains(want), "{args:?}: {text}");
    }
    // Of two runs in one folder the one that is meant has to be named.
    copy(&checkpoint, &checkpoint.with_file_name("other-last"));
    let Ended { code, text } = command(&["export", &full, "-o", &place("x")]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("several last checkpoints name one of them"), "{text}");
}

#[test]
fn the_command_names_both_models() {
    let desk = Desk::of("llama");
    let other = another(&desk);
    let (run, data) = (desk.dir.path().join("run"), text(&desk.data.path));
    let tune = |source: &Path, steps: &str| {
        let from = ["finetune", text(source), "--data", data, "--seq-length=32", steps];
        command(&[&from[..], &["--output", text(&run)]].concat())
    };
    let Ended { code, text: said } = tune(&desk.base, "--max-steps=1");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("base {}", desk.base.display())), "{said}");
    let Ended { code, text: said } = tune(&other, "--max-steps=2");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(text(&desk.base)) && said.contains(text(&other)), "{said}");
    assert!(!said.contains("resumed"), "{said}");
    let Ended { code, text: said } = tune(&desk.base, "--max-steps=2");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("resumed after step 1"), "{said}");
    // A run says itself what it began with.
    let Ended { code, text: said } = tune(&run, "--max-steps=3");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("resumed after step 2"), "{said}");
    assert!(said.contains(&format!("base {}", desk.base.display())), "{said}");
}

/// To open a pipe waits for its other end, and a device has no end.
#[cfg(unix)]
#[test]
fn data_is_read_from_files_alone() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let desk = Desk::of("llama");
    let run = desk.dir.path().join("run");
    let device = desk.dir.path().join("zero.jsonl");
    symlink("/dev/zero", &device).unwrap();
    let socket = desk.dir.path().join("socket.jsonl");
    let _socket = UnixListener::bind(&socket).unwrap();
    let good = desk.data.path.as_path();
    for (data, held_out, want) in [
        (&*device, good, "zero.jsonl is a device, where a file should be"),
        (&socket, good, "socket.jsonl is a socket"),
        (good, &*device, "zero.jsonl is a device"),
        (Path::new("/dev/zero"), good, "/dev/zero is a device"),
    ] {
        let [base, data, held_out, run_] = [&desk.base, data, held_out, &run].map(text);
        let from = ["finetune", base, "--data", data, "--val-data", held_out, "--seq-length=32"];
        let Ended { code, text } = command(&[&from[..], &["--output", run_]].concat());
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains(want), "{text}");
        assert!(!run.exists());
    }
}

//! What no run begins with.

use crate::support::{Desk, files};
use connector_core::families::{LlamaModel, MistralModel};
use connector_core::train::{FineTuningData, Lora, Trainer, finetune};
use connector_core::{AutoResume, Error, store};
use connector_tests::{Child, Ended};
use std::fs;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// The message of a refusal.
fn refusal(result: connector_core::Result<impl Sized>) -> String {
    match result {
        Ok(_) => "it went on".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_run_needs_something_to_tune() {
    let desk = Desk::of("llama");
    let trainer = desk.trainer("run");
    let text = refusal(finetune::<LlamaModel>(&desk.data, &trainer, &AutoResume::default()));
    assert!(text.contains("neither a checkpoint nor an import_path"), "{text}");
    let text = refusal(finetune::<MistralModel>(&desk.data, &trainer, &desk.resume(&trainer)));
    assert!(text.contains("holds a LlamaModel, not a MistralModel"), "{text}");
    assert!(!trainer.log_dir.exists());
}

#[test]
fn bad_data_is_named_by_its_line() {
    let mut desk = Desk::of("llama");
    fs::write(&desk.data.path, "{\"input\": \"a\", \"output\": \"b\"}\n{\"input\": 1}\n").unwrap();
    let text = refusal(desk.run(&desk.trainer("run")));
    assert!(
        text.contains("this run cannot begin") && text.contains("training.jsonl:2: "),
        "{text}"
    );
    desk.data = FineTuningData { seq_length: 500, ..desk.data };
    let text = refusal(desk.run(&desk.trainer("run")));
    assert!(text.contains("seq_length: is 500; the model is for at most 256 tokens"), "{text}");
}

#[test]
fn a_run_goes_on_only_as_what_it_began() {
    let desk = Desk::of("llama");
    let trainer = Trainer { max_steps: 1, ..desk.trainer("run") };
    desk.run(&trainer).unwrap();
    let other =
        Trainer { seed: 9, peft: Some(Lora { dim: 2, ..Lora::default() }), ..trainer.clone() };
    let text = refusal(desk.run(&other));
    assert!(text.contains("seed: the run began with 1234, now it is 9"), "{text}");
    assert!(text.contains("peft: the run began with none, now it is dim 2"), "{text}");
    // Not in place of it either.
    let resume = AutoResume { resume_from_path: Some(desk.base.clone()), ..AutoResume::default() };
    let text = refusal(finetune::<LlamaModel>(&desk.data, &trainer, &resume));
    assert!(text.contains("default-last: is the checkpoint of an earlier run"), "{text}");
    // More steps are no other run.
    assert_eq!(desk.run(&Trainer { max_steps: 2, ..trainer }).unwrap().resumed_at, 1);
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let desk = Desk::of("llama");
    let trainer = Trainer { max_steps: 1, ..desk.trainer("run") };
    let tuned = desk.run(&trainer).unwrap();
    let more = Trainer { max_steps: 2, ..trainer };
    let optimizer = tuned.checkpoint.join("optimizer/model.safetensors");
    let bytes = fs::read(&optimizer).unwrap();
    fs::write(&optimizer, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refusal(desk.run(&more)).contains("model.safetensors"));
    fs::remove_file(&optimizer).unwrap();
    assert!(refusal(desk.run(&more)).contains("optimizer"));
    fs::write(&optimizer, &bytes).unwrap();
    fs::write(tuned.checkpoint.join("training.json"), "{}").unwrap();
    assert!(refusal(desk.run(&more)).contains("training.json: missing field"));
}

/// Numbers that make no run, whatever they are, are told and not tried.
#[test]
fn numbers_that_make_no_run_are_refused() {
    let desk = Desk::of("llama");
    let path = |path: &Path| path.to_str().unwrap().to_string();
    let (base, data) = (path(&desk.base), path(&desk.data.path));
    let run = desk.dir.path().join("run");
    for (args, code, want) in [
        (&["--seq-length=0"][..], 3, "seq_length is 0"),
        (&["--seq-length=1"], 3, "has a prompt of"),
        (&["--seq-length=5000"], 3, "seq_length is 5000; the model is for at most 256"),
        (&["--max-steps=0"], 3, "max_steps is 0"),
        (&["--micro-batch-size=0"], 3, "micro_batch_size is 0"),
        (&["--micro-batch-size=4000000000"], 3, "micro_batch_size is 4000000000; it should be"),
        (&["--accumulate=4000000000"], 3, "accumulate_grad_batches is 4000000000"),
        (&["--save-every=0"], 3, "every_n_train_steps is 0"),
        (
            &["--lora=4000000000", "--seq-length=32"],
            3,
            "dim is 4000000000, more than the width of the model, 48",
        ),
        (&["--lora=0"], 2, "1.."),
        (&["--lora=4", "--lora-alpha=nan"], 3, "alpha is NaN"),
        (&["--lora=4", "--lora-targets=q_proj"], 3, "target_modules names `q_proj`"),
        (&["--lr=nan"], 3, "max_lr is NaN"),
        (&["--lr=inf"], 3, "max_lr is inf"),
        (&["--weight-decay=nan"], 3, "weight_decay is NaN"),
        (&["--warmup-steps=101"], 3, "warmup_steps is 101, more than max_steps, 100"),
        (&["--device=tpu"], 2, "cuda"),
        (&["--prompt-template=x", "--seq-length=32"], 3, "prompt_template is \"x\""),
    ] {
        let child = Child::new(PROGRAM, &["finetune", &base, "--data", &data, "--output"]);
        let child = args.iter().fold(child.arg(&path(&run)), |child, arg| child.arg(arg));
        let Ended { code: found, text } = child.run();
        assert_eq!(found, Some(code), "{args:?}: {text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains(want), "{args:?}: {text}");
        assert!(!run.exists(), "{args:?} leaves something");
    }
}

/// More steps than any run makes: the time that is left is no reason to panic.
#[test]
fn a_run_without_end_can_be_stopped() {
    let desk = Desk::of("llama");
    let endless = Trainer { max_steps: u64::MAX, ..desk.trainer("run") };
    assert_eq!(desk.stop_after(&endless, 1).unwrap().step, 1);
}

#[test]
fn a_run_that_has_its_steps_says_so() {
    let desk = Desk::of("llama");
    let path = |path: &Path| path.to_str().unwrap().to_string();
    let (base, data) = (path(&desk.base), path(&desk.data.path));
    let run = path(&desk.dir.path().join("run"));
    let steps = |steps: &str| {
        let child = Child::new(PROGRAM, &["finetune", &base, "--data", &data, "--output", &run]);
        let Ended { code, text } = child.arg("--seq-length=32").arg(steps).run();
        assert_eq!(code, Some(0), "{text}");
        text
    };
    steps("--max-steps=3");
    let before = files(Path::new(&run));
    for same_or_fewer in ["--max-steps=3", "--max-steps=1"] {
        let text = steps(same_or_fewer);
        assert!(text.contains("has 3 steps already"), "{text}");
        assert!(text.contains("a larger --max-steps goes on"), "{text}");
        assert!(files(Path::new(&run)) == before, "{same_or_fewer}");
    }
}

/// What of a run's folder may be damaged.
#[test]
fn a_damaged_run_is_refused() {
    let desk = Desk::of("llama");
    let peft = Some(Lora { dim: 4, ..Lora::default() });
    let trainer = Trainer { max_steps: 1, peft, ..desk.trainer("run") };
    let tuned = desk.run(&trainer).unwrap();
    let more = Trainer { max_steps: 2, ..trainer };
    let state = tuned.checkpoint.join("training.json");
    let good = fs::read_to_string(&state).unwrap();
    let huge = u64::MAX.to_string();
    for (from, to, want) in [
        ("\"consumed_samples\": 2", &format!("\"consumed_samples\": {huge}")[..], "no run reaches"),
        ("\"step\": 1", &format!("\"step\": {huge}"), "no run reaches"),
        ("\"step\": 1", "\"step\": -1", "invalid value"),
        ("training/1", "training/9", "is of layout connector.training/9"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        fs::write(&state, changed).unwrap();
        let text = refusal(desk.run(&more));
        assert!(text.contains("training.json: ") && text.contains(want), "{to}: {text}");
    }
    fs::write(&state, &good).unwrap();
    let metadata = tuned.checkpoint.join("weights/adapter_metadata.json");
    let text = fs::read(&metadata).unwrap();
    fs::remove_file(&metadata).unwrap();
    let said = refusal(desk.run(&more));
    assert!(said.contains("adapter_metadata.json is missing"), "{said}");
    fs::write(&metadata, text).unwrap();
    // A log that was torn is no reason to stop.
    fs::write(more.log(), b"\xff\xfe\0{\n").unwrap();
    assert!(desk.run(&more).unwrap().is_complete);
}

/// A tokenizer with more tokens than the model: told of the whole data, before a step is made.
#[test]
fn tokens_that_the_model_does_not_know_are_refused() {
    let desk = Desk::of("llama");
    let tokenizer = desk.base.join("context/tokenizer.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs::read(&tokenizer).unwrap()).unwrap();
    let added = serde_json::json!({
        "id": 97, "content": "<new>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false,
    });
    json["added_tokens"].as_array_mut().unwrap().push(added);
    fs::write(&tokenizer, json.to_string()).unwrap();
    assert!(desk.run(&Trainer { max_steps: 1, ..desk.trainer("without") }).is_ok());
    fs::write(&desk.data.path, "{\"input\": \"a\", \"output\": \"sea <new>\"}\n").unwrap();
    let text = refusal(desk.run(&desk.trainer("run")));
    assert!(
        text.contains("makes the token 97 of the data; the model's vocabulary has 97"),
        "{text}"
    );
    assert!(text.contains("tokenizer.json"), "{text}");
}

/// What a run begins with is only read.
#[test]
fn a_run_is_not_written_into_its_model() {
    let desk = Desk::of("llama");
    let before = files(&desk.base);
    for inside in [desk.base.clone(), desk.base.join("runs/a")] {
        let result = desk.run(&Trainer { log_dir: inside, ..desk.trainer("run") });
        assert!(
            matches!(result, Err(Error::Store(store::Error::NotSeparate { .. }))),
            "{:?}",
            result.map(|_| ())
        );
        assert!(files(&desk.base) == before);
        assert!(!desk.base.join("runs").exists());
    }
    // The other way round is a folder for everything.
    let trainer = Trainer { max_steps: 1, log_dir: desk.dir.path().into(), ..desk.trainer("") };
    assert!(desk.run(&trainer).unwrap().is_complete);
}

//! What no run begins with.

use crate::support::Desk;
use connector_core::AutoResume;
use connector_core::families::{LlamaModel, MistralModel};
use connector_core::train::{FineTuningData, Lora, Trainer, finetune};
use std::fs;

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

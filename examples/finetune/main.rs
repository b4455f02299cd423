//! NeMo's first script in Rust: fine-tuning from a Hugging Face checkpoint, and back.
//!
//! Run it with `cargo run -p connector-examples --example finetune`. It trains the fixture of this
//! repository, a Llama of two layers with random weights, on 24 sentences. Stop it with Ctrl-C and
//! start it again: it goes on where it was. Results are in `target/finetune`.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use connector_core::connector::cache::Cache;
use connector_core::families::LlamaModel;
use connector_core::model::{GenerateOptions, LoadOptions, Loaded};
use connector_core::store::Overwrite;
use connector_core::train::{
    CosineAnnealing, Dataset, FineTuningData, StepRecord, Trainer, Watch, finetune_watched,
};
use connector_core::{AutoResume, ExportOptions, ImportOptions, export_ckpt};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::time::Duration;

/// Trains in `target/finetune`.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/finetune"), 60)
}

/// Trains for some steps in the folder `dir`.
pub fn run(dir: &Path, max_steps: u64) -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));

    // The data: lines of {"input": …, "output": …}, of which the output is learnt.
    let data = FineTuningData {
        seq_length: 64,
        ..FineTuningData::new(here.join("finetune/training.jsonl"))
    };

    // How it is trained.
    let trainer = Trainer {
        max_steps,
        micro_batch_size: 4,
        lr_scheduler: CosineAnnealing { max_lr: 1e-2, min_lr: 1e-3, warmup_steps: 5 },
        every_n_train_steps: 20,
        ..Trainer::new(dir)
    };

    // What it begins with: the run's own last checkpoint if there is one, else a Hugging Face
    // checkpoint, `hf://org/name` as well as a path. It is imported into a cache, here one in
    // `dir`.
    let resume = AutoResume {
        resume_from_directory: Some(dir.join("checkpoints")),
        resume_if_exists: true,
        resume_ignore_no_checkpoint: true,
        import_path: Some(here.join("../tests/fixtures/llama/hf").display().to_string()),
        options: ImportOptions::default().cache(Cache::at(dir.join("cache"))),
        ..AutoResume::default()
    };

    // NeMo's `llm.finetune(model, data, trainer, resume)`; `finetune` is the same without the bar.
    let bar = Bar::new(max_steps);
    let tuned = finetune_watched::<LlamaModel>(&data, &trainer, &resume, &bar)?;
    bar.0.finish_and_clear();
    let (first, last) = (&tuned.records[0], &tuned.records[tuned.records.len() - 1]);
    println!(
        "loss       {:.3} at step {}, {:.3} at step {}",
        first.loss, first.step, last.loss, last.step
    );
    println!("checkpoint {}", tuned.checkpoint.display());
    println!("log        {}", trainer.log().display());
    println!("curve      {}", trainer.curve().display());

    // Back to Hugging Face. transformers loads the result.
    let hf = dir.join("hf");
    export_ckpt(&tuned.checkpoint, &hf, ExportOptions::default().overwrite(Overwrite::Yes))?;
    println!("exported   {}", hf.display());

    // What it says now, read from the exported directory.
    let loaded = Loaded::open(&hf, &LoadOptions::default())?;
    let (model, tokenizer) = (loaded.model()?, loaded.tokenizer()?);
    let options = GenerateOptions::default().max_tokens(24).stop(loaded.stop_tokens()?);
    for prompt in ["the sand is", "The tide"] {
        let tokens = tokenizer.encode(prompt, true)?;
        let answer = model.generate(&tokens, options.clone())?.collect::<Result<Vec<u32>, _>>()?;
        println!(
            "{prompt}{}",
            tokenizer.decode(&[&tokens, &*answer].concat())?.trim_start_matches(prompt)
        );
    }
    Ok(())
}

/// A bar with loss, speed and time left.
struct Bar(ProgressBar);

impl Bar {
    fn new(steps: u64) -> Self {
        let style = ProgressStyle::with_template("step {pos}/{len} {wide_bar} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Bar(ProgressBar::new(steps).with_style(style))
    }
}

impl Watch for Bar {
    fn begins(&self, data: &Dataset, _: Option<&Dataset>, step: u64) {
        self.0.println(format!(
            "data       {} examples in {} rows, {} tokens, {} of them learnt",
            data.examples(),
            data.rows(),
            data.tokens(),
            data.learnt_tokens()
        ));
        self.0.set_position(step);
    }

    fn stepped(&self, record: &StepRecord, left: Duration) {
        self.0.set_position(record.step);
        let (loss, speed) = (record.loss, record.tokens_per_second());
        self.0.set_message(format!(
            "loss {loss:.3} · {speed:.0} tokens/s · {} s left",
            left.as_secs()
        ));
    }
}

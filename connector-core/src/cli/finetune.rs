//! `finetune` and `merge`.

use super::args::{FineTune, Merge};
use super::exit::Exit;
use super::failure::Failure;
use super::screen::Screen;
use super::style::{GOOD, STRONG};
use super::{signals, source, text};
use crate::checkpoint::look;
use crate::store::{self, Overwrite};
use crate::train::{Adapted, Dataset, FineTuned, StepRecord, Trainer, Watch, finetune_watched};
use crate::{AutoModel, AutoResume, DeviceChoice};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn run(args: &FineTune, screen: &mut Screen) -> Result<Exit, Failure> {
    let (trainer, data) = (args.trainer()?, args.data());
    signals::watch(&trainer.cancel).map_err(store::Error::io("handle", "SIGINT"))?;
    let start = Instant::now();
    let steps = Steps::new(screen, &trainer);
    let tuned = finetune_watched::<AutoModel>(&data, &trainer, &resume(args, &trainer)?, &steps);
    steps.bar.finish_and_clear();
    let tuned = tuned.map_err(|error| source::explain(&args.source, error))?;
    show(screen, &trainer, &tuned, start.elapsed());
    screen.document(|| {
        json!({
            "schema": "connector.finetune/1",
            "checkpoint": tuned.checkpoint.to_string_lossy(),
            "base": tuned.base.as_ref().map(|base| base.to_string_lossy()),
            "log": trainer.log().to_string_lossy(),
            "curve": trainer.curve().to_string_lossy(),
            "step": tuned.step,
            "resumed_at": tuned.resumed_at,
            "is_complete": tuned.is_complete,
            "records": tuned.records,
        })
    });
    Ok(match trainer.cancel.signal() {
        Some(signal) if !tuned.is_complete => Exit::Signal(signal),
        _ => Exit::Ok,
    })
}

pub(super) fn merge(args: &Merge, screen: &mut Screen) -> Result<Exit, Failure> {
    let Merge { checkpoint, on, output, overwrite } = args;
    let adapted = Adapted::open_on(checkpoint, on.base.as_deref(), DeviceChoice::default())
        .map_err(|error| source::explain(checkpoint, error))?;
    adapted.merge(output, Overwrite::from(*overwrite))?;
    written(screen, &adapted, output, "merged");
    Ok(Exit::Ok)
}

/// `export` of an adapter.
pub(super) fn export_adapter(
    checkpoint: &Path,
    output: &Path,
    overwrite: Overwrite,
    base: Option<&Path>,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let adapted = Adapted::open_on(checkpoint, base, DeviceChoice::default())
        .map_err(|error| source::explain(checkpoint, error))?;
    adapted.export_peft(output, overwrite)?;
    written(screen, &adapted, output, "hf-peft");
    Ok(Exit::Ok)
}

/// What became of an adapter.
fn written(screen: &mut Screen, adapted: &Adapted, output: &Path, made: &str) {
    let lora = adapted.lora();
    let mut page = screen.page();
    page.field("adapter", &format!("rank {}, alpha {}", lora.dim, lora.alpha));
    page.more(&format!("on {}", adapted.base().display()));
    page.styled_field("done", GOOD, &output.display().to_string());
    let output_text = text::quoted(output);
    page.styled_field(
        "next",
        STRONG,
        &match made {
            "merged" => format!("`connector export {output_text} --output DIR`"),
            _ => format!("`PeftModel.from_pretrained(base, \"{}\")` of peft", output.display()),
        },
    );
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.adapter/1",
            "made": made,
            "output": output.to_string_lossy(),
            "base": adapted.base().to_string_lossy(),
            "lora": lora,
        })
    });
}

/// The run's own checkpoint if there is one, else the model: as it is, or imported.
fn resume(args: &FineTune, trainer: &Trainer) -> Result<AutoResume, Failure> {
    let last = trainer.checkpoint();
    Ok(AutoResume {
        resume_from_path: look::exists(&last)?.then_some(last),
        import_path: Some(args.source.display().to_string()),
        ..AutoResume::default()
    })
}

fn show(screen: &mut Screen, trainer: &Trainer, tuned: &FineTuned, time: Duration) {
    let mut page = screen.page();
    if let Some(base) = &tuned.base {
        page.field("base", &base.display().to_string());
    }
    if let (Some(first), Some(last)) = (tuned.records.first(), tuned.records.last()) {
        let loss = |record: &StepRecord| format!("{:.4} at step {}", record.loss, record.step);
        page.field("loss", &format!("{} → {}", loss(first), loss(last)));
        let held_out = tuned.records.iter().filter_map(|r| Some((r.step, r.val_loss?)));
        let held_out: Vec<String> =
            held_out.map(|(step, loss)| format!("{loss:.4} at step {step}")).collect();
        match held_out.as_slice() {
            [] => {}
            [only] => page.more(&format!("validation {only}")),
            [first, .., last] => page.more(&format!("validation {first} → {last}")),
        }
        let (log, curve) = (trainer.log(), trainer.curve());
        page.more(&format!("{} · {}", log.display(), curve.display()));
    }
    let checkpoint = tuned.checkpoint.display();
    if tuned.step == tuned.resumed_at {
        let steps = text::count(tuned.step as usize, "step");
        let line = format!("nothing: {checkpoint} has {steps} already");
        page.styled_field("done", GOOD, &line);
        page.styled_field("next", STRONG, "a larger --max-steps goes on");
        screen.show(&page);
        return;
    }
    let steps = text::count((tuned.step - tuned.resumed_at) as usize, "step");
    if tuned.is_complete {
        let line = format!("{checkpoint} · {steps} · {}", text::duration(time));
        page.styled_field("done", GOOD, &line);
        let path = text::quoted(&tuned.checkpoint);
        let what = if trainer.peft.is_some() {
            "writes the adapter for peft; `connector merge` adds it to the model"
        } else {
            "writes it for transformers"
        };
        page.styled_field(
            "next",
            STRONG,
            &format!("`connector export {path} --output DIR` {what}"),
        );
    } else {
        let line = format!("{checkpoint} has all up to step {}", tuned.step);
        page.styled_field("stopped", STRONG, &line);
        page.styled_field("next", STRONG, "the same command goes on");
    }
    screen.show(&page);
}

/// Shows how far a run is: a bar on a terminal, else a line now and then.
struct Steps<'a> {
    screen: &'a Screen,
    trainer: &'a Trainer,
    bar: ProgressBar,
    begun: Instant,
    told: Cell<Instant>,
    /// The last validation loss.
    val_loss: Cell<Option<f64>>,
}

/// How long nothing is told where no bar can move.
const PAUSE: Duration = Duration::from_secs(10);

impl<'a> Steps<'a> {
    fn new(screen: &'a Screen, trainer: &'a Trainer) -> Self {
        let live = screen.is_live() && !screen.json && !screen.quiet;
        let bar = if live { ProgressBar::new(trainer.max_steps) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("  step     {pos}/{len} {wide_bar}  {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ");
        bar.set_style(style);
        let now = Instant::now();
        Steps { screen, trainer, bar, begun: now, told: Cell::new(now), val_loss: Cell::new(None) }
    }
}

impl Watch for Steps<'_> {
    fn begins(&self, data: &Dataset, validation: Option<&Dataset>, step: u64) {
        let told = [("data", Some(data), "learnt"), ("held out", validation, "asked for")];
        for (label, data, verb) in told {
            let Some(data) = data else { continue };
            let line = format!(
                "{} in {}, {}, {} of them {verb}",
                text::count(data.examples(), "example"),
                text::count(data.rows(), "row"),
                text::count(data.tokens(), "token"),
                data.learnt_tokens(),
            );
            self.screen.note(label, &line);
            if data.truncated() > 0 {
                let count = text::count(data.truncated(), "example");
                self.screen.warn(&format!("{count} cut at --seq-length"));
            }
        }
        if step > 0 {
            self.screen.note("resumed", &format!("after step {step}"));
        }
        self.bar.set_position(step);
    }

    fn stepped(&self, record: &StepRecord, left: Duration) {
        self.val_loss.set(record.val_loss.or(self.val_loss.get()));
        let held_out =
            self.val_loss.get().map_or(String::new(), |loss| format!("   val {loss:.4}"));
        let line = format!(
            "loss {:.4}{held_out}   {:.0} tokens/s   {} left",
            record.loss,
            record.tokens_per_second(),
            text::duration(Duration::from_secs(left.as_secs()))
        );
        self.bar.set_position(record.step);
        self.bar.set_message(line.replace(text::JOINED, " "));
        if self.bar.is_hidden() && self.told.get().elapsed() >= PAUSE {
            self.told.set(Instant::now());
            let time = text::duration(self.begun.elapsed());
            let step = format!("{}/{}   {time}   {line}", record.step, self.trainer.max_steps);
            self.screen.note("step", &step);
        }
    }
}

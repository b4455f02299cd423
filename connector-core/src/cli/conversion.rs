//! What `import` and `export` share: a plan is shown, run, and its result told.

use super::args::{How, Publish};
use super::exit::Exit;
use super::failure::Failure;
use super::page::Page;
use super::progress::{Shown, Verb};
use super::screen::Screen;
use super::style::{GOOD, STRONG, WARNING};
use super::{memory, overview, plan, signals, text};
use crate::Cancel;
use crate::checkpoint::Flavor;
use crate::connector::cache::{Cache, Cached, Entry};
use crate::connector::{Direction, Planned, Record};
use crate::engine::{Loss, NotZero};
use crate::plan::{PlanOptions, group_keys};
use crate::store::{self, Overwrite, Staging, check_separate};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many groups of tensors or fields a line names; JSON and `conversion.json` have all.
const MOST: usize = 3;

/// A conversion that was asked for.
pub(super) struct Run<'a> {
    pub source: &'a Path,
    /// The output; `None` is the cache.
    pub to: Option<&'a Path>,
    pub publish: &'a Publish,
    pub cancel: Cancel,
    pub asked: PlanOptions,
    pub how: &'a How,
}

impl Run<'_> {
    pub fn run(
        self,
        plan: impl FnOnce() -> Result<Planned, Failure>,
        screen: &mut Screen,
    ) -> Result<Exit, Failure> {
        let Run { source, to, publish, cancel, asked, how } = self;
        let Publish { overwrite, dry_run, .. } = publish;
        let overwrite = Overwrite::from(*overwrite);
        // What is wrong with the output is told before anything else: it takes no time.
        to.map_or(Ok(()), |output| Staging::check(output, overwrite))?;
        let planned = plan()?;
        let cache = Cache::from_env();
        let output = to.map_or_else(|| cache.place(&planned), |output| Ok(output.into()))?;
        check_separate(source, &output)?;
        let found = match to {
            None if overwrite == Overwrite::No => cache.find(&planned)?,
            _ => None,
        };
        let warnings = plan::warnings(&planned, &asked)?;
        if !dry_run {
            signals::watch(&cancel).map_err(store::Error::io("handle", "SIGINT"))?;
        }

        let summary = planned.plan().summary(planned.source().tensors());
        let mut page = screen.page();
        if *dry_run {
            plan::show(&mut page, &planned, how, &summary);
        } else {
            overview::show_source(&mut page, &planned);
            if found.is_none() {
                overview::show_plan(&mut page, &planned, &summary);
            }
        }
        screen.show(&page);
        warnings.iter().for_each(|warning| screen.warn(warning));

        let result = match (found, to) {
            (Some(entry), _) => Outcome::Found(entry),
            (None, None) if *dry_run => cache.check(&planned).map(|()| Outcome::Nothing)?,
            (None, Some(_)) if *dry_run => planned.check(&output).map(|()| Outcome::Nothing)?,
            (None, _) => {
                let write = |progress: &Shown| match to {
                    Some(output) => {
                        planned.run(output, progress).map(|record| Outcome::made(record.into()))
                    }
                    None => cache
                        .convert(&planned, overwrite, progress, |owner| {
                            screen.note("waiting", &format!("{owner} converts the same"));
                        })
                        .map(Outcome::from),
                };
                let done = convert(&output, &planned, screen, write);
                done.map_err(|failure| failure.signalled(&cancel))?
            }
        };
        let mut page = screen.page();
        match &result {
            Outcome::Made(done) => show_done(&mut page, &output, publish, &planned, done),
            Outcome::Found(entry) => show_found(&mut page, entry, &planned),
            Outcome::Nothing => {
                let output = output.display();
                let line = format!("{output} can be written; nothing was");
                page.styled_field("dry run", GOOD, &line);
            }
        }
        screen.show(&page);
        screen.document(|| {
            json!({
                "schema": match planned.direction() {
                    Direction::Import => "connector.import/1",
                    Direction::Export => "connector.export/1",
                },
                "output": output.to_string_lossy(),
                "dry_run": dry_run,
                "cached": matches!(result, Outcome::Found(_)),
                "warnings": warnings,
                "plan": plan::json(&planned, &summary),
                "result": match &result {
                    Outcome::Made(done) => done.json(),
                    Outcome::Found(_) | Outcome::Nothing => Value::Null,
                },
            })
        });
        Ok(Exit::Ok)
    }
}

/// What became of it.
enum Outcome {
    Made(Done),
    /// The cache had it.
    Found(Entry),
    /// Nothing was to be written.
    Nothing,
}

impl Outcome {
    fn made(record: Box<Record>) -> Self {
        Outcome::Made(Done { record, time: Duration::ZERO, peak_memory: None })
    }
}

impl From<Cached> for Outcome {
    fn from(cached: Cached) -> Self {
        match cached {
            Cached::Found(entry) => Outcome::Found(entry),
            Cached::Made(_, record) => Outcome::made(record),
        }
    }
}

/// What `--hash` adds.
pub(super) const HASHES: &str = "conversion.json has a blake3 hash of every tensor";

/// A conversion that came to its end.
pub(super) struct Done {
    pub record: Box<Record>,
    pub time: Duration,
    pub peak_memory: Option<u64>,
}

fn convert(
    output: &Path,
    planned: &Planned,
    screen: &Screen,
    write: impl FnOnce(&Shown) -> crate::Result<Outcome>,
) -> Result<Outcome, Failure> {
    tracing::debug!(output = %output.display(), memory = planned.bound().total(), "writing");
    let progress = Shown::new(screen, Verb::Writing);
    let start = Instant::now();
    let outcome = write(&progress);
    let time = start.elapsed();
    progress.clear();
    tracing::debug!(?time, "done");
    Ok(match outcome? {
        Outcome::Made(done) => Outcome::Made(Done { time, peak_memory: memory::peak(), ..done }),
        other => other,
    })
}

impl Done {
    /// `done  DIR · 14.5 GB in 3 files · 7.6 s · 1.9 GB/s · 212 MB memory`
    pub fn show(&self, page: &mut Page, output: &Path) {
        let files = text::count(self.record.weights.len(), "file");
        let mut parts = vec![
            output.display().to_string(),
            format!("{} in {files}", text::bytes(self.bytes())),
            text::duration(self.time),
            text::speed(self.bytes(), self.time),
        ];
        parts.extend(self.peak_memory.map(|peak| format!("{} memory", text::bytes(peak))));
        page.styled_field("done", GOOD, &parts.join(" · "));
    }

    fn bytes(&self) -> u64 {
        self.record.weights.iter().map(|file| file.bytes).sum()
    }

    pub fn json(&self) -> Value {
        let seconds = self.time.as_secs_f64();
        json!({
            "record": self.record,
            "bytes": self.bytes(),
            "seconds": seconds,
            "bytes_per_second": if seconds > 0.0 { (self.bytes() as f64 / seconds) as u64 } else { 0 },
            "peak_memory": self.peak_memory,
        })
    }
}

/// `cached   … (converted 2026-11-24, same revision, same mapping)`
fn show_found(page: &mut Page, entry: &Entry, planned: &Planned) {
    let source = if entry.revision.is_some() { "revision" } else { "files" };
    let path = entry.path.display();
    let day = text::day(entry.converted);
    let line = format!("{path} (converted {day}, same {source}, same mapping)");
    page.styled_field("cached", GOOD, &line);
    page.styled_field("next", STRONG, imported(planned));
}

fn show_done(page: &mut Page, output: &Path, publish: &Publish, planned: &Planned, done: &Done) {
    let record = &done.record;
    done.show(page, output);
    page.more(&beside(planned, record));
    if publish.hash {
        page.more(HASHES);
    }
    show_losses(page, record);
    show_dropped(page, record);
    let next = match planned.direction() {
        Direction::Import => imported(planned).into(),
        Direction::Export => exported(output, planned),
    };
    page.styled_field("next", STRONG, &next);
}

/// What was written beside the tensors.
fn beside(planned: &Planned, record: &Record) -> String {
    let copied = text::count(record.copied.len(), "file");
    if planned.direction() == Direction::Import {
        let folder = planned.beside();
        return format!("{folder}/ has model.yaml and {copied} copied from the source");
    }
    let changed: Vec<&String> = record.config.changed.keys().collect();
    let said = planned.config_file();
    let config = match planned.original_file() {
        None => format!("is made from {said} alone: the checkpoint has no original"),
        Some(original) if !changed.is_empty() => {
            format!("is {original} but for {}", text::some(&changed, MOST))
        }
        Some(original) if original == said => format!("is {original}"),
        Some(original) => format!("is {original}, which says the same as {said}"),
    };
    match planned.copied_from() {
        Some(folder) => {
            // Of the checkpoint, or where `--hf-config` has it.
            let inside = folder.strip_prefix(planned.path()).ok();
            let folder = inside.filter(|inside| *inside != Path::new("")).unwrap_or(folder);
            format!("config.json {config}; {copied} copied from {}", folder.join("").display())
        }
        None => format!("config.json {config}; no other files lie beside the tensors"),
    }
}

/// Which tools can open the result of an import.
fn imported(planned: &Planned) -> &'static str {
    opened_by(planned.flavor())
}

/// Which tools can open what is laid out so; `None` for safetensors.
pub(super) fn opened_by(flavor: Option<Flavor>) -> &'static str {
    match flavor {
        Some(Flavor::Nemo) => {
            "NeMo takes it where it takes what `llm.import_ckpt` wrote: `RestoreConfig`, `nemo_load`, \
             `llm.export_ckpt`; Megatron-core loads weights/"
        }
        Some(Flavor::MegatronLm) => {
            "Megatron-LM loads it with --load, and its size with --use-checkpoint-args; for \
             --tokenizer-type HuggingFaceTokenizer, --tokenizer-model is release/tokenizer"
        }
        Some(Flavor::MegatronBridge) => {
            "Megatron-Bridge loads it: `load_megatron_model` takes iter_0000000, \
             `checkpoint.pretrained_checkpoint` the directory"
        }
        _ => {
            "weights/ is safetensors with Megatron-core's names: candle and `connector inspect` \
             open it; for NeMo and Megatron, import with --flavor nemo, megatron-lm or \
             megatron-bridge"
        }
    }
}

/// Which tools can open the result of an export.
fn exported(output: &Path, planned: &Planned) -> String {
    if planned.registration().format != "hf" {
        return format!("`connector inspect {}` shows it", text::quoted(output));
    }
    format!(
        "transformers opens it, `AutoModelForCausalLM.from_pretrained(\"{}\")`, and so does what \
         reads Hugging Face directories: vLLM, SGLang, llama.cpp's converter",
        output.display()
    )
}

/// Rows of padding that are not zero and were not written.
fn show_dropped(page: &mut Page, record: &Record) {
    for (name, NotZero { dropped, not_zero, largest, .. }) in &record.dropped {
        let rows = record.plan.dropped.iter().find(|rows| rows.keys == *name);
        let rows = rows.map_or(String::new(), |rows| format!("{} of ", rows.rows));
        let largest = largest.map_or(String::new(), |value| format!(", the largest {value}"));
        let line = format!(
            "{rows}{name} pad the vocabulary and are not written: {not_zero} of {dropped} elements \
             are not zero{largest} (--keep-vocab-padding writes them)"
        );
        page.styled_field("dropped", WARNING, &line);
    }
}

/// What a cast changed beyond rounding.
fn show_losses(page: &mut Page, record: &Record) {
    if record.plan.casts == 0 {
        return;
    }
    type Count = fn(&Loss) -> u64;
    let to_infinity: Count = |loss| loss.to_infinity;
    let to_zero: Count = |loss| loss.to_zero;
    let mut lossless = true;
    for (what, count) in [("became infinite", to_infinity), ("became zero", to_zero)] {
        let hit = record.losses.iter().filter(|(_, loss)| count(loss) > 0);
        let values: u64 = hit.clone().map(|(_, loss)| count(loss)).sum();
        if values == 0 {
            continue;
        }
        lossless = false;
        let groups: Vec<String> =
            group_keys(hit.map(|(name, _)| name.clone())).into_iter().map(|g| g.text).collect();
        let s = if values == 1 { "" } else { "s" };
        let line = format!("{values} value{s} {what} in {}", text::some(&groups, MOST));
        page.styled_field("cast", WARNING, &line);
    }
    if lossless {
        page.field("cast", "nothing was lost but to rounding: no value became infinite or zero");
    }
}

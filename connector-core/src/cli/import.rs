use super::args::Import;
use super::exit::Exit;
use super::failure::Failure;
use super::page::Page;
use super::progress::Shown;
use super::screen::Screen;
use super::style::{GOOD, STRONG, WARNING};
use super::{memory, overview, plan, signals, source, text};
use crate::connector::{Imported, PlannedImport, Record};
use crate::engine::Loss;
use crate::plan::group_keys;
use crate::store::{Overwrite, Staging, check_separate};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How many groups of tensors a line names; JSON and `conversion.json` have all.
const MOST: usize = 3;

pub(super) fn run(args: &Import, screen: &mut Screen) -> Result<Exit, Failure> {
    let mut options = args.selection.options()?;
    options.overwrite = Overwrite::from(args.overwrite);
    options.hash = args.hash;
    let cancel = options.cancel.clone();
    let asked = options.plan.clone();
    // What is wrong with the output is told before anything else: it takes no time.
    Staging::check(&args.output, options.overwrite)?;
    let planned = source::plan(&args.selection.source, options)?;
    check_separate(&args.selection.source, &args.output)?;
    let warnings = plan::warnings(&planned, &asked)?;
    if !args.dry_run {
        signals::watch(&cancel).map_err(crate::Error::io("handle", "SIGINT"))?;
    }

    let summary = planned.plan().summary(planned.checkpoint().source().tensors());
    let mut page = screen.page();
    if args.dry_run {
        plan::show(&mut page, &planned, &args.selection, &summary);
    } else {
        overview::show_source(&mut page, planned.checkpoint());
        overview::show_plan(&mut page, &planned, &summary);
    }
    screen.show(&page);
    warnings.iter().for_each(|warning| screen.warn(warning));

    let done = if args.dry_run {
        planned.check(&args.output)?;
        None
    } else {
        Some(convert(args, &planned, screen).map_err(|failure| failure.signalled(&cancel))?)
    };
    let mut page = screen.page();
    match &done {
        Some(done) => show_done(&mut page, args, done),
        None => {
            let output = args.output.display();
            page.styled_field("dry run", GOOD, &format!("{output} can be written; nothing was"));
        }
    }
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.import/1",
            "output": args.output.to_string_lossy(),
            "dry_run": args.dry_run,
            "warnings": warnings,
            "plan": plan::json(&planned, &summary),
            "result": done.as_ref().map(Done::json),
        })
    });
    Ok(Exit::Ok)
}

/// An import that came to its end.
struct Done {
    imported: Imported,
    time: Duration,
    peak_memory: Option<u64>,
}

fn convert(args: &Import, planned: &PlannedImport, screen: &Screen) -> Result<Done, Failure> {
    tracing::debug!(output = %args.output.display(), memory = planned.bound().total(), "writing");
    let progress = Shown::new(screen);
    let start = Instant::now();
    let imported = planned.run(&args.output, &progress);
    let time = start.elapsed();
    progress.clear();
    tracing::debug!(?time, "done");
    Ok(Done { imported: imported?, time, peak_memory: memory::peak() })
}

impl Done {
    fn bytes(&self) -> u64 {
        self.imported.record.weights.iter().map(|file| file.bytes).sum()
    }

    fn json(&self) -> Value {
        let seconds = self.time.as_secs_f64();
        json!({
            "record": self.imported.record,
            "bytes": self.bytes(),
            "seconds": seconds,
            "bytes_per_second": if seconds > 0.0 { (self.bytes() as f64 / seconds) as u64 } else { 0 },
            "peak_memory": self.peak_memory,
        })
    }
}

fn show_done(page: &mut Page, args: &Import, done: &Done) {
    let record = &done.imported.record;
    let mut parts = vec![
        done.imported.output.display().to_string(),
        format!("{} in {}", text::bytes(done.bytes()), text::count(record.weights.len(), "file")),
        text::duration(done.time),
        text::speed(done.bytes(), done.time),
    ];
    parts.extend(done.peak_memory.map(|peak| format!("{} memory", text::bytes(peak))));
    page.styled_field("done", GOOD, &parts.join(" · "));
    let copied = text::count(record.copied.len(), "file");
    page.more(&format!("context/ has model.yaml and {copied} copied from the source"));
    if args.hash {
        page.more("conversion.json has a blake3 hash of every tensor");
    }
    show_losses(page, record);
    page.styled_field("next", STRONG, NEXT);
}

/// Which tools can open the result.
const NEXT: &str = "weights/ is safetensors with Megatron-core's names: candle and `connector inspect` open it; \
                    NeMo and Megatron-LM need torch_dist, which connector does not write yet";

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

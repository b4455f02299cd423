//! `convert`: the same tensors in another container.

use super::args::Convert;
use super::conversion::{Done, HASHES, opened_by};
use super::exit::Exit;
use super::failure::Failure;
use super::page::Page;
use super::progress::{Shown, Verb};
use super::screen::Screen;
use super::style::{GOOD, STRONG};
use super::{memory, overview, signals, source, text};
use crate::checkpoint::Flavor;
use crate::connector::PlannedConvert;
use crate::store::{self, Overwrite, Staging, check_separate};
use serde_json::json;
use std::time::Instant;

pub(super) fn run(args: &Convert, screen: &mut Screen) -> Result<Exit, Failure> {
    let Convert { checkpoint, output, publish, .. } = args;
    let options = args.options()?;
    let cancel = options.cancel.clone();
    let flavor = options.torch_dist.map(|dist| dist.flavor);
    // What is wrong with the output is told before anything else: it takes no time.
    Staging::check(output, Overwrite::from(publish.overwrite))?;
    check_separate(checkpoint, output)?;
    let planned = PlannedConvert::new(checkpoint, options);
    let planned = planned.map_err(|error| source::explain(checkpoint, error))?;
    let mut page = screen.page();
    overview::show_source(&mut page, planned.checkpoint());
    let tensors = planned.checkpoint().source().tensors();
    let from = planned.checkpoint().container();
    let to = planned.container().name();
    let count = text::count(tensors.len(), "tensor");
    page.field("plan", &format!("{count}, {from} → {to}, bit for bit"));
    screen.show(&page);
    planned.warnings().iter().for_each(|warning| screen.warn(warning));

    let mut page = screen.page();
    let done = if publish.dry_run {
        planned.check(output)?;
        page.field("memory", &memory::bound(planned.bound(), &args.how.resources.max_memory));
        let line = format!("{} can be written; nothing was", output.display());
        page.styled_field("dry run", GOOD, &line);
        None
    } else {
        signals::watch(&cancel).map_err(store::Error::io("handle", "SIGINT"))?;
        let done = convert(args, &planned, screen);
        let done = done.map_err(|error| Failure::from(error).signalled(&cancel))?;
        show_done(&mut page, args, flavor, &done);
        Some(done)
    };
    screen.show(&page);
    screen.document(|| {
        let files = planned.files().map(|(name, bytes)| json!({ "name": name, "bytes": bytes }));
        json!({
            "schema": "connector.convert/1",
            "source": overview::source_json(planned.checkpoint()),
            "output": output.to_string_lossy(),
            "dry_run": publish.dry_run,
            "warnings": planned.warnings(),
            "from": from,
            "to": to,
            "files": files.collect::<Vec<_>>(),
            "memory": planned.bound().total(),
            "result": done.as_ref().map(Done::json),
        })
    });
    Ok(Exit::Ok)
}

fn convert(args: &Convert, planned: &PlannedConvert, screen: &Screen) -> crate::Result<Done> {
    let progress = Shown::new(screen, Verb::Writing);
    let start = Instant::now();
    let record = planned.run(&args.output, &progress);
    let time = start.elapsed();
    progress.clear();
    Ok(Done { record: Box::new(record?), time, peak_memory: memory::peak() })
}

fn show_done(page: &mut Page, args: &Convert, flavor: Option<Flavor>, done: &Done) {
    done.show(page, &args.output);
    let copied = text::count(done.record.copied.len(), "file");
    page.more(&format!("what was beside the tensors is there too: {copied} copied"));
    if args.publish.hash {
        page.more(HASHES);
    }
    page.styled_field("next", STRONG, opened_by(flavor));
}

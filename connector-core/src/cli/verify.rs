//! `verify` and `diff`: what is the same in two checkpoints, and what is not.

use super::args::{Diff, Verify};
use super::exit::Exit;
use super::failure::Failure;
use super::page::Page;
use super::progress::{Shown, Verb};
use super::screen::Screen;
use super::style::{BAD, GOOD};
use super::{advice, findings, overview, signals, source, text};
use crate::connector::{Difference, Verification, VerifyOptions, diff, verify};
use crate::plan::{Finding, group_keys};
use crate::store;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// How many differences or groups of tensors the screen shows; JSON has all.
const MOST: usize = 12;

pub(super) fn verify_command(args: &Verify, screen: &mut Screen) -> Result<Exit, Failure> {
    let options = args.options()?;
    #[cfg(feature = "candle")]
    if args.logits.logits {
        return super::logits::verify(args, screen);
    }
    let sides = [&*args.source, &*args.checkpoint];
    let verification =
        run(sides, &options, screen, |a, b, options, progress| verify(a, b, options, progress))?;
    show(&mut *screen, sides, &verification, "connector.verify/1");
    Ok(if verification.is_equal() { Exit::Ok } else { Exit::Verification })
}

pub(super) fn diff_command(args: &Diff, screen: &mut Screen) -> Result<Exit, Failure> {
    let options = args.options();
    let sides = [&*args.one, &*args.other];
    let verification =
        run(sides, &options, screen, |a, b, options, progress| diff(a, b, options, progress))?;
    show(&mut *screen, sides, &verification, "connector.diff/1");
    Ok(if verification.is_equal() { Exit::Ok } else { Exit::Verification })
}

type Compare =
    fn(&Path, &Path, &VerifyOptions, &dyn crate::engine::Progress) -> crate::Result<Verification>;

fn run(
    [source, checkpoint]: [&Path; 2],
    options: &VerifyOptions,
    screen: &Screen,
    compare: Compare,
) -> Result<Verification, Failure> {
    signals::watch(&options.cancel).map_err(store::Error::io("handle", "SIGINT"))?;
    let progress = Shown::new(screen, Verb::Comparing);
    let start = Instant::now();
    let compared = compare(source, checkpoint, options, &progress);
    progress.clear();
    tracing::debug!(time = ?start.elapsed(), "compared");
    compared.map_err(|error| source::explain(source, error).signalled(&options.cancel))
}

fn show(
    screen: &mut Screen,
    [source, checkpoint]: [&Path; 2],
    verification: &Verification,
    schema: &str,
) {
    let Verification { connector, differences, refused, .. } = verification;
    let refused: Vec<Finding> = refused.iter().cloned().map(advice::told).collect();
    let mut page = screen.page();
    page.field("source", &source.display().to_string());
    page.field("against", &checkpoint.display().to_string());
    let joined = match connector {
        Some(c) => {
            let name = overview::short_name(c);
            format!("by the mapping of {name}, {} from {} ({})", c.model, c.format, c.at)
        }
        None => "by the names of the tensors".into(),
    };
    if refused.is_empty() {
        page.field("compared", &joined);
        show_equal(&mut page, verification);
    }
    show_differences(&mut page, differences);
    if !refused.is_empty() {
        let count = text::count(refused.len(), "finding");
        let line = format!("{} is no checkpoint of this model: {count}", checkpoint.display());
        page.styled_field("differ", BAD, &line);
        findings::show(&mut page, &refused);
    }
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": schema,
            "source": source.to_string_lossy(),
            "checkpoint": checkpoint.to_string_lossy(),
            "is_equal": verification.is_equal(),
            "connector": connector.map(super::list::connector_json),
            "equal": verification.equal,
            "bytes": verification.bytes,
            "casts": verification.casts,
            "padded": verification.padded,
            "dropped": verification.dropped,
            "left_out": verification.left_out,
            "differences": differences,
            "findings": refused,
        })
    });
}

fn show_equal(page: &mut Page, verification: &Verification) {
    let Verification { equal, bytes, casts, padded, dropped, left_out, .. } = verification;
    let style = if verification.is_equal() { GOOD } else { super::style::PLAIN };
    let tensors = text::count(*equal, "tensor");
    page.styled_field("equal", style, &format!("{tensors}, {}, bit for bit", text::bytes(*bytes)));
    for cast in casts {
        let tensors = text::count(cast.tensors, "tensor");
        page.more(&format!("{tensors} after the cast {} → {}", cast.from, cast.to));
    }
    for (key, count) in dropped {
        page.more(&format!(
            "the padding of {key} is left out, of which {} not zero",
            match count {
                1 => "1 element is".into(),
                _ => format!("{count} elements are"),
            }
        ));
    }
    if !padded.is_empty() {
        page.more(&format!("the padding of {} is zeros", text::some(padded, MOST)));
    }
    for (keys, why) in left_out.iter().take(MOST) {
        page.more(&format!("needs no counterpart: {keys} ({why})"));
    }
    if let Some(more @ 1..) = left_out.len().checked_sub(MOST) {
        page.more(&format!("and {more} more groups; --json lists them"));
    }
}

fn show_differences(page: &mut Page, differences: &[Difference]) {
    if differences.is_empty() {
        return;
    }
    let is_config = |difference: &&Difference| matches!(difference, Difference::Config { .. });
    let fields = differences.iter().filter(is_config).count();
    let tensors = text::count(differences.len() - fields, "tensor");
    let count = match (differences.len() - fields, fields) {
        (_, 0) => tensors,
        (0, fields) => format!("{} of the config", text::count(fields, "field")),
        (_, fields) => format!("{tensors}, {} of the config", text::count(fields, "field")),
    };
    page.styled_field("differ", BAD, &count);
    let mut lines = Vec::new();
    // What only one side has, and shapes and types, are the same for each layer.
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for difference in differences {
        let what = match difference {
            Difference::Missing { .. } => "is only in the source".into(),
            Difference::Unexpected { .. } => "is only in the checkpoint".into(),
            Difference::Shape { source, checkpoint, .. } => format!(
                "is {} in the source, {} in the checkpoint",
                text::shape(source),
                text::shape(checkpoint)
            ),
            Difference::Dtype { source, checkpoint, .. } => {
                format!("is {source} in the source, {checkpoint} in the checkpoint")
            }
            Difference::Config { key, source, checkpoint } => {
                let what =
                    format!("is {source} in the source's config, {checkpoint} in the checkpoint's");
                lines.push((key.clone(), what));
                continue;
            }
            Difference::Values { .. } => continue,
        };
        alike.entry(what).or_default().push(difference.key().into());
    }
    for (what, keys) in alike {
        lines.extend(group_keys(keys).into_iter().map(|group| (group.text, what.clone())));
    }
    for difference in differences {
        if let Difference::Values { key, index, source, checkpoint, differ, elements, origin } =
            difference
        {
            let mut line = format!(
                "{} is {source} in the source, {checkpoint} in the checkpoint; {differ} of {} differ",
                text::shape(index),
                text::count(*elements as usize, "element")
            );
            if let Some(origin) = origin {
                line +=
                    &format!("; {}{} on the other side", origin.key, text::shape(&origin.index));
            }
            lines.push((key.clone(), line));
        }
    }
    for (key, what) in lines.iter().take(MOST) {
        page.gap();
        page.emphasised("     ", key, "");
        page.indented(7, what);
    }
    if let Some(more @ 1..) = lines.len().checked_sub(MOST) {
        page.gap();
        page.indented(5, &format!("and {more} more; --json lists all of them"));
    }
}

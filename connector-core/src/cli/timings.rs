//! `--timings`: the stages of a command, and the time that each took.

use super::page::{Column, Page};
use super::text;
use crate::base::stage;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Subscriber;
use tracing::span::Id;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Every stage: its name, whether several threads do it at once within the one above, and what it is.
const STAGES: [(&str, bool, &str); 20] = [
    ("open", false, "headers and config"),
    ("plan", false, "plan"),
    ("lay out", false, "layout"),
    ("check", false, "checks before the first write"),
    ("create", false, "files created, space reserved"),
    ("cut", false, "extents"),
    ("move", false, "tensors"),
    ("share", true, "blocks shared"),
    ("read", true, "read"),
    ("cast", true, "cast"),
    ("write", true, "written, hashed or compared"),
    ("kernel copy", true, "copied by the kernel"),
    ("rearrange", true, "rearranged or computed in memory"),
    ("function", true, "in functions on tensors"),
    ("checksums", false, "checksums of what came in pieces"),
    ("finish", false, "files completed"),
    ("read back", false, "headers read back"),
    ("hash", false, "hashes of what came in pieces"),
    ("other files", false, "other files"),
    ("publish", false, "waiting for the disk, publishing"),
];

/// Adds up the time that is spent in each stage.
#[derive(Clone, Default)]
pub(super) struct Timings(Arc<Mutex<[Spent; STAGES.len()]>>);

#[derive(Clone, Copy, Default)]
struct Spent {
    time: Duration,
    calls: u64,
}

impl Timings {
    /// The layer of a subscriber that tells it of the stages.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        self.clone().with_filter(filter_fn(|metadata| metadata.target() == stage::TARGET))
    }

    /// The stages that were passed.
    fn stages(&self) -> Vec<(&'static (&'static str, bool, &'static str), Spent)> {
        let spent = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        STAGES.iter().zip(spent).filter(|(_, spent)| spent.calls > 0).collect()
    }

    /// A table; nothing if no stage was passed.
    pub fn show(&self, page: &mut Page) {
        let stages = self.stages();
        if stages.is_empty() {
            return;
        }
        let row = |((_, inside, what), spent): &(&(&str, bool, &str), Spent)| {
            let seconds = format!("{:.3} s", spent.time.as_secs_f64());
            let (indent, threads) = if *inside { ("  ", "of all threads") } else { ("", "") };
            let times = if spent.calls > 1 {
                text::count(spent.calls as usize, "time")
            } else {
                String::new()
            };
            vec![format!("{indent}{what}"), seconds, times, threads.into()]
        };
        let rows: Vec<_> = stages.iter().map(row).collect();
        page.gap();
        page.emphasised("  ", "timings", "");
        page.table(4, &[Column::Left, Column::Right, Column::Right, Column::Left], &rows);
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let stage = |((name, inside, _), spent): (&(&str, bool, &str), Spent)| {
            json!({
                "stage": name,
                "seconds": spent.time.as_secs_f64(),
                "calls": spent.calls,
                "all_threads": inside,
            })
        };
        self.stages().into_iter().map(stage).collect()
    }
}

/// When a span was entered.
struct Entered(Instant);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Timings {
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Entered(Instant::now()));
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let Some(Entered(start)) = span.extensions_mut().remove() else { return };
        let number = STAGES.iter().position(|(name, ..)| *name == span.name());
        let mut stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spent) = number.map(|number| &mut stages[number]) {
            spent.time += start.elapsed();
            spent.calls += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::stage::stage;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn stages_are_added_up_in_their_order_and_other_spans_left_out() {
        let timings = Timings::default();
        let subscriber = tracing_subscriber::registry().with(timings.layer());
        tracing::subscriber::with_default(subscriber, || {
            let _other = tracing::error_span!("plan").entered();
            for _ in 0..2 {
                stage!("move");
                stage!("read");
            }
            stage!("open");
        });
        let json = timings.json();
        let stages: Vec<_> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["stage"].as_str(), s["calls"].as_u64()))
            .collect();
        let want = [("open", 1), ("move", 2), ("read", 2)].map(|(s, n)| (Some(s), Some(n)));
        assert_eq!(stages, want);
        let mut page = Page::new(80);
        timings.show(&mut page);
        assert!(page.as_str().contains("headers and config"), "{}", page.as_str());
        let mut empty = Page::new(80);
        Timings::default().show(&mut empty);
        assert_eq!(empty.as_str(), "");
    }
}

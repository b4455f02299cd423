use super::screen::Screen;
use super::text;
use crate::base::parallel;
use crate::engine::Progress;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a line is written where no bar can move.
const PAUSE: Duration = Duration::from_secs(5);
/// How often the bar moves even if nothing else does.
const TICK: Duration = Duration::from_millis(100);
/// What stands beside the bar: `  writing    14.5 GB / 14.5 GB   99.9 MB/s   59 min 59 s left`.
const BESIDE: usize = 64;

/// What is going on.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Downloading,
    Writing,
    Comparing,
}

impl Verb {
    fn label(self) -> &'static str {
        match self {
            Verb::Downloading => "download",
            Verb::Writing => "writing",
            Verb::Comparing => "reading",
        }
    }

    /// What follows the last byte. It takes a while on a slow disk, and moves no byte.
    fn after(self) -> &'static str {
        match self {
            Verb::Downloading => "arrived, now checking",
            Verb::Writing => "written, now syncing and checking",
            Verb::Comparing => "compared",
        }
    }
}

/// Shows how far a conversion or a download is.
pub(super) enum Shown {
    /// To nobody.
    Hidden,
    /// As a bar.
    Bar(ProgressBar),
    /// As a line now and then.
    Lines(Lines),
}

pub(super) struct Lines {
    verb: Verb,
    start: Instant,
    total: AtomicU64,
    done: AtomicU64,
    last: Mutex<Instant>,
}

impl Shown {
    pub fn new(screen: &Screen, verb: Verb) -> Self {
        if screen.json || screen.quiet {
            Shown::Hidden
        } else if screen.is_live() {
            let bar = ProgressBar::no_length();
            bar.set_style(style(super::screen::width(true), verb));
            Shown::Bar(bar)
        } else {
            let now = Instant::now();
            let (total, done) = (AtomicU64::new(0), AtomicU64::new(0));
            Shown::Lines(Lines { verb, start: now, total, done, last: Mutex::new(now) })
        }
    }

    /// Prints something above the bar.
    pub fn suspend(&self, print: impl FnOnce()) {
        match self {
            Shown::Bar(bar) => bar.suspend(print),
            _ => print(),
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        if let Shown::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Shown {
    fn begin(&self, bytes: u64) {
        match self {
            Shown::Hidden => {}
            Shown::Bar(bar) => {
                bar.set_length(bytes);
                bar.reset();
                // The bar's own thread, which it takes for granted; without it the bar moves with the
                // bytes alone.
                if parallel::can_spawn() {
                    bar.enable_steady_tick(TICK);
                }
            }
            Shown::Lines(lines) => lines.total.store(bytes, Ordering::Relaxed),
        }
    }

    fn advance(&self, bytes: u64) {
        match self {
            Shown::Hidden => {}
            Shown::Bar(bar) => bar.inc(bytes),
            Shown::Lines(lines) => lines.advance(bytes),
        }
    }
}

impl Lines {
    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Whoever cannot have the lock at once need not: another thread is telling.
        let Ok(mut last) = self.last.try_lock() else { return };
        if last.elapsed() < PAUSE {
            return;
        }
        *last = Instant::now();
        let total = self.total.load(Ordering::Relaxed);
        let status = Status { verb: self.verb, done, total, time: self.start.elapsed() };
        let (label, line) = (self.verb.label(), status.line().replace(text::JOINED, " "));
        // If standard error is closed, there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "  {label:<8} {line}");
    }
}

/// How far it is after some time.
#[derive(Clone, Copy)]
struct Status {
    verb: Verb,
    done: u64,
    total: u64,
    time: Duration,
}

impl Status {
    fn line(self) -> String {
        if self.done >= self.total {
            return format!("{} {}", text::bytes(self.done), self.verb.after());
        }
        let amount = format!("{} / {}", text::bytes(self.done), text::bytes(self.total));
        format!("{amount}   {}   {}", text::speed(self.done, self.time), self.left())
    }

    /// The time that the rest takes at the speed so far.
    fn left(self) -> String {
        if self.done == 0 {
            return String::new();
        }
        let ahead = self.total.saturating_sub(self.done) as f64 / self.done as f64;
        let seconds = (self.time.as_secs_f64() * ahead).ceil();
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) if seconds < 60.0 => format!("{} s left", time.as_secs()),
            Ok(time) => format!("{} left", text::duration(time)),
            Err(_) => String::new(),
        }
    }
}

fn style(width: usize, verb: Verb) -> ProgressStyle {
    let bar = width.saturating_sub(BESIDE).max(4);
    let template = format!("  {:<8} {{bar:{bar}}}  {{status}}", verb.label());
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸ ").with_key(
        "status",
        move |state: &ProgressState, out: &mut dyn Write| {
            let total = state.len().unwrap_or(0);
            let status = Status { verb, done: state.pos(), total, time: state.elapsed() };
            // The bar has no way to tell of an error.
            let _ = out.write_str(&status.line().replace(text::JOINED, " "));
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_rest_at_the_speed_so_far() {
        for (done, total, seconds, want) in [
            (0, 100, 5, ""),
            (50, 100, 2, "2 s left"),
            (98, 100, 7, "1 s left"),
            (1, 100, 10, "16 min 30 s left"),
            (100, 100, 7, "0 s left"),
            (0, 0, 0, ""),
            (1, u64::MAX, 10_000_000, ""),
        ] {
            let status =
                Status { verb: Verb::Writing, done, total, time: Duration::from_secs(seconds) };
            let left = status.left().replace(text::JOINED, " ");
            assert_eq!(left, want, "{done} of {total}");
        }
        let (done, total, time) = (9_800_000_000, 14_500_000_000, Duration::from_secs(5));
        let status = Status { verb: Verb::Writing, done, total, time };
        let want = "9.8 GB / 14.5 GB   2.0 GB/s   3 s left";
        assert_eq!(status.line().replace(text::JOINED, " "), want);
        let status = Status { done: 14_500_000_000, ..status };
        assert!(status.line().ends_with("written, now syncing and checking"));
    }
}

use super::text::printable;
use super::timings::Timings;
use anstream::AutoStream;
use std::{fmt, io};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Sends the library's messages to standard error: warnings; nothing but errors if `quiet`; with
/// `verbose` 1 or more what it does. `RUST_LOG` has the last word.
pub(super) fn init(verbose: u8, quiet: bool, timings: Option<&Timings>) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colour = AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let messages = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .fmt_fields(Printable(DefaultFields::new()))
        .with_ansi(colour)
        .with_target(false)
        .without_time()
        .with_filter(filter);
    let subscriber =
        tracing_subscriber::registry().with(messages).with(timings.map(Timings::layer));
    // A program that calls `cli::main` may have a subscriber of its own.
    let _ = subscriber.try_init();
}

/// What a message has, free of what controls a terminal: names come from files.
struct Printable(DefaultFields);

impl<'w> FormatFields<'w> for Printable {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        self.0.format_fields(Writer::new(&mut text), fields)?;
        fmt::Write::write_str(&mut writer, &printable(&text))
    }
}

use super::page::Page;
use super::style::WARNING;
use super::text::printable_json;
use super::timings::Timings;
use anstream::AutoStream;
use anstream::stream::{AsLockedWrite, RawStream};
use serde_json::Value;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Lines are no longer than this, however wide the terminal: longer ones are hard to read.
const WIDEST: usize = 100;
/// Below this nothing is readable, so that nothing is gained by breaking lines.
const NARROWEST: usize = 40;

/// Where results and messages go: results to standard output, the rest to standard error.
pub(super) struct Screen {
    /// One JSON document instead of text.
    pub json: bool,
    /// Nothing but errors.
    pub quiet: bool,
    /// Messages of the library come between the lines.
    pub verbose: bool,
    /// Shown behind the result.
    pub timings: Option<Timings>,
    failed: Option<io::Error>,
}

impl Screen {
    pub fn new(json: bool, quiet: bool, verbose: bool) -> Self {
        Screen { json, quiet, verbose, timings: None, failed: None }
    }

    /// An empty page of the width of standard output.
    pub fn page(&self) -> Page {
        Page::new(width(io::stdout().is_terminal()))
    }

    /// An empty page of the width of standard error.
    pub fn message(&self) -> Page {
        Page::new(width(io::stderr().is_terminal()))
    }

    /// Shows a result to a reader.
    pub fn show(&mut self, page: &Page) {
        if !self.json && !self.quiet {
            self.print(page.as_str());
        }
    }

    /// Gives a result to a program.
    pub fn document(&mut self, document: impl FnOnce() -> Value) {
        if self.json {
            let mut document = document();
            if let Some(timings) = &self.timings {
                document["timings"] = timings.json();
            }
            self.print(&printable_json(format!("{document:#}\n")));
        }
    }

    /// Prints text that is asked for as it is, such as a completion script.
    pub fn print(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = write(io::stdout(), text).err();
        }
    }

    /// Shows a message beside the result.
    pub fn tell(&self, page: &Page) {
        // If standard error is closed, there is nobody left to tell.
        let _ = write(io::stderr(), page.as_str());
    }

    /// Shows something that is probably not meant so.
    pub fn warn(&self, text: &str) {
        if !self.quiet && !self.json {
            let mut page = self.message();
            page.headline("warning:", WARNING, text);
            self.tell(&page);
        }
    }

    /// Tells of something that takes a while, beside the result.
    pub fn note(&self, label: &str, text: &str) {
        if !self.quiet && !self.json {
            let mut page = self.message();
            page.field(label, text);
            self.tell(&page);
        }
    }

    /// Why results could not be written. A reader that has seen enough, as `head`, is no error.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(timings) = self.timings.take() {
            let mut page = self.page();
            timings.show(&mut page);
            self.show(&page);
        }
        match self.failed {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether a bar can move on standard error.
    pub fn is_live(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        io::stderr().is_terminal() && !self.verbose && !dumb
    }
}

/// Writes with colours where the stream and the environment (`NO_COLOR`, `CLICOLOR`) want them.
fn write(stream: impl RawStream + AsLockedWrite, text: &str) -> io::Result<()> {
    let mut stream = AutoStream::auto(stream);
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// The width of the terminal, within bounds.
pub(super) fn width(terminal: bool) -> usize {
    let size = if terminal { terminal_size::terminal_size() } else { None };
    let columns = size.map_or(WIDEST, |(width, _)| usize::from(width.0));
    columns.clamp(NARROWEST, WIDEST)
}

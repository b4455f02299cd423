//! Sources on the hub: found in its cache or downloaded, before a command begins.

use super::args::Command;
use super::failure::Failure;
use super::progress::{Shown, Verb};
use super::screen::Screen;
use super::text;
use crate::Cancel;
use crate::connector::hub::{Hub, HubProgress, Origin};
use crate::engine::Progress;

/// Puts the directories in place of the addresses on the hub that a command was given.
pub(super) fn sources(command: &mut Command, screen: &Screen) -> Result<(), Failure> {
    for source in command.sources() {
        let origin = Origin::new(&source)?;
        if let Origin::Hub(address) = &origin {
            tracing::debug!(%address, "looking in the hub's cache");
        }
        let shown = Fetching { screen, shown: Shown::new(screen, Verb::Downloading) };
        // Ctrl-C ends the program at once: what has arrived is kept, and a download that is to end
        // in order would end with its file only.
        let fetched = origin.fetch(&Hub::from_env(), &shown, &Cancel::default());
        shown.shown.clear();
        *source = fetched?;
    }
    Ok(())
}

struct Fetching<'a> {
    screen: &'a Screen,
    shown: Shown,
}

impl HubProgress for Fetching<'_> {
    fn begin(&self, files: usize, bytes: u64) {
        self.shown.begin(bytes);
        if !self.screen.json && !self.screen.quiet {
            let mut page = self.screen.message();
            let what = format!("{} in {}", text::bytes(bytes), text::count(files, "file"));
            page.field("download", &what);
            self.shown.suspend(|| self.screen.tell(&page));
        }
    }

    fn advance(&self, bytes: u64) {
        self.shown.advance(bytes);
    }

    fn waiting(&self, owner: &str) {
        self.screen.note("waiting", &format!("{owner} downloads the same model"));
    }

    fn warn(&self, text: &str) {
        self.screen.warn(text);
    }
}

//! What a command was given in place of a directory, found before it begins: sources on the hub, in
//! its cache or downloaded, and the runs of `finetune`.

use super::args::Command;
use super::exit::Exit;
use super::failure::Failure;
use super::progress::{Shown, Verb};
use super::screen::Screen;
use super::{signals, text};
use crate::connector::hub::{Hub, HubProgress, Origin};
use crate::connector::last_of_run;
use crate::engine::Progress;
use crate::store;
use crate::{Cancel, Error};

/// Puts directories in place of the addresses on the hub that a command was given, and the last
/// checkpoints in place of the folders of runs.
pub(super) fn sources(command: &mut Command, screen: &Screen) -> Result<(), Failure> {
    for source in command.sources() {
        let origin = Origin::new(&source)?;
        if let Origin::Hub(address) = &origin {
            tracing::debug!(%address, "looking in the hub's cache");
        }
        let shown = Fetching { screen, shown: Shown::new(screen, Verb::Downloading) };
        let cancel = Cancel::default();
        let is_hub = matches!(origin, Origin::Hub(_));
        let watch = is_hub.then(|| signals::watch_for_now(&cancel)).transpose();
        let _watch = watch.map_err(store::Error::io("handle", "SIGINT"))?;
        let fetched = origin.fetch(&Hub::from_env(), &shown, &cancel);
        let fetched = fetched.map_err(|error| stopped(error).signalled(&cancel));
        shown.shown.clear();
        *source = last_of_run(fetched?)?;
    }
    Ok(())
}

/// A download that was stopped has written something, and that is worth to know.
fn stopped(error: Error) -> Failure {
    match error {
        Error::Cancelled => {
            let (exit, kind) = Exit::of(&error);
            let message = "stopped on request; what has arrived is kept for the next download";
            Failure::new(exit, kind, message)
        }
        error => error.into(),
    }
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

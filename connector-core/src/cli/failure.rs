use super::advice;
use super::exit::Exit;
use super::findings;
use super::screen::Screen;
use super::style::BAD;
use super::text;
use crate::checkpoint::Snapshot;
use crate::checkpoint::files::{OpenError, OpenErrorKind};
use crate::checkpoint::look::Dangling;
use crate::connector::{Direction, Registration, Registry};
#[cfg(feature = "candle")]
use crate::model::ModelError;
use crate::plan::{Finding, FindingKind};
use crate::{Cancel, Error, checkpoint, engine, store};
use serde_json::json;

/// How many damaged records are listed.
const MOST: usize = 8;

/// Why a command ends without its result, ready to be told.
#[derive(Debug)]
pub(super) struct Failure {
    pub exit: Exit,
    /// The sort of error in JSON.
    kind: &'static str,
    message: String,
    /// Lines below the message.
    details: Vec<String>,
    pub findings: Vec<Finding>,
    /// What to do next.
    help: Vec<String>,
}

impl Failure {
    pub fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Failure { exit, kind, message, details: vec![], findings: vec![], help: vec![] }
    }

    /// Something about the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(Exit::Usage, "usage", message)
    }

    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    /// Names the signal behind an interruption.
    pub fn signalled(self, cancel: &Cancel) -> Self {
        match (self.exit, cancel.signal()) {
            (Exit::Signal(_), Some(signal)) => Failure { exit: Exit::Signal(signal), ..self },
            _ => self,
        }
    }

    pub fn report(&self, screen: &mut Screen) {
        if screen.json {
            screen.document(|| {
                json!({
                    "schema": "connector.error/1",
                    "kind": self.kind,
                    "exit_code": self.exit.code(),
                    "message": self.message,
                    "details": self.details,
                    "findings": self.findings,
                    "help": self.help,
                })
            });
            return;
        }
        let mut page = screen.message();
        page.headline("error:", BAD, &self.message);
        for line in &self.details {
            page.indented(2, line);
        }
        if !self.findings.is_empty() {
            findings::show(&mut page, &self.findings);
        }
        if !self.help.is_empty() {
            page.gap();
        }
        for line in &self.help {
            page.advice(line);
        }
        screen.tell(&page);
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let (exit, kind) = Exit::of(&error);
        let failure = |message: String| Failure::new(exit, kind, message);
        match error {
            Error::Refused(refusal) => {
                let resource = refusal.findings.iter().all(|f| f.kind == FindingKind::Resource);
                let subject = match refusal.subject.as_str() {
                    _ if resource => "there is not enough room",
                    "" => "this checkpoint cannot be converted",
                    subject => subject,
                };
                let count = refusal.findings.len();
                let s = if count == 1 { "" } else { "s" };
                let message = format!("{subject} ({count} finding{s}); nothing was written");
                let findings = refusal.findings.into_iter().map(advice::told).collect();
                Failure { findings, ..failure(message) }
            }
            Error::NoImporter { wanted, format, registered } => {
                let none = registered.is_empty();
                let mut failure = failure(format!("no importer from {format} for {wanted}"));
                failure.details =
                    registered.into_iter().map(|one| format!("there is {one}")).collect();
                if none {
                    failure = failure.detail("no importer is linked into this program");
                }
                failure
                    .help(
                        "if this model is one of these in all but its name: --model NAME; what does \
                         not fit is refused",
                    )
                    .help(
                        "for another architecture `connector scaffold SOURCE` drafts an importer \
                         (README, \"Write your own importer\"); its crate must be linked: \
                         `use my_crate as _;`",
                    )
            }
            Error::NoExporter { model, format, registered } => {
                let mut failure = failure(format!("no exporter of {model} to {format}"));
                failure.details =
                    registered.into_iter().map(|one| format!("there is {one}")).collect();
                failure.help("its crate must be linked into this program: `use my_crate as _;`")
            }
            Error::NoExport { connector } => no_export(connector, failure),
            Error::Store(store::Error::Locked { .. }) => failure(error.to_string())
                .help("wait until it is done, or write to another --output"),
            Error::Checkpoint(checkpoint::Error::Damaged { records }) => {
                let count = records.len();
                let s = if count == 1 { "" } else { "s" };
                let mut failure = failure(format!("the checkpoint is damaged ({count} record{s})"));
                failure.details = records.iter().take(MOST).map(ToString::to_string).collect();
                if let Some(more @ 1..) = count.checked_sub(MOST) {
                    failure = failure.detail(format!("and {more} more"));
                }
                failure
                    .help("copy or download its files again")
                    .help("`connector inspect PATH --check` lists everything in it that changed")
                    .help(
                        "what writes into such files leaves their checksums as they were; if that was \
                         meant, load and save them with torch",
                    )
            }
            Error::Hub(error) => {
                let failure = failure(error.to_string());
                error.help().into_iter().fold(failure, Failure::help)
            }
            Error::Store(store::Error::Io { ref source, .. }) => {
                of_system(failure(error.to_string()), source)
            }
            Error::Checkpoint(checkpoint::Error::Open(OpenError {
                kind: OpenErrorKind::Io { ref source, .. },
                ..
            })) => {
                of_system(failure(error.to_string()), source)
            }
            #[cfg(feature = "candle")]
            Error::Model(ModelError::NoBase { .. }) => failure(error.to_string()).help(
                "`--base DIR` says where it is; `connector finetune` takes that place as its SOURCE",
            ),
            Error::Engine(engine::Error::NeedsCandle { .. }) => {
                failure(error.to_string()).help("cargo build --features candle")
            }
            Error::WrittenWrong { .. } => failure(error.to_string()).help(
                "what was read back is not what was written: if the disk is sound (`dmesg`, SMART), \
                 please report this with the command and the model",
            ),
            Error::WorkerPanicked(_) => failure(error.to_string())
                .help("please report this with the command and the model"),
            error => {
                let (text, advice) = (error.to_string(), error.advice());
                // Told by its options, in the place of words.
                let words = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                let failure = failure(text.strip_suffix(&words).unwrap_or(&text).into());
                advice.iter().map(advice::option).fold(failure, Failure::help)
            }
        }
    }
}

/// What the system refused, with what repairs a cache of the hub.
fn of_system(failure: Failure, error: &std::io::Error) -> Failure {
    match Dangling::of(error).and_then(|link| link.snapshot.as_ref()) {
        Some(Snapshot { repository, revision, .. }) => {
            let [repository, revision] = [repository, revision].map(|name| text::quoted_text(name));
            let command = format!("`hf download {repository} --revision {revision}`");
            failure.help(format!("{command} downloads what is missing"))
        }
        None => failure,
    }
}

/// A connector that only imports was to export: which formats its model is exported to.
fn no_export(connector: &'static str, failure: impl Fn(String) -> Failure) -> Failure {
    let all = Registry::get().map(Registry::connectors).unwrap_or_default();
    let Some(only_imports) = all.iter().find(|c| c.name == connector) else {
        return failure(Error::NoExport { connector }.to_string());
    };
    let Registration { model, format, .. } = only_imports;
    let mut failure = failure(format!("{model} is imported from {format}, but not exported to it"));
    let exports = |c: &&&Registration| c.exports || c.direction == Direction::Export;
    let others = all.iter().filter(|c| c.model == *model).filter(exports);
    failure.details = others.map(|c| format!("there is {} to {}", c.model, c.format)).collect();
    failure.help(format!("`source_config` of {connector} would have to make the format's config"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Advice;

    #[test]
    fn an_interruption_takes_the_signal_that_came() {
        let cancel = Cancel::default();
        cancel.flag().store(15, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(Failure::from(Error::Cancelled).signalled(&cancel).exit, Exit::Signal(15));
        assert_eq!(Failure::usage("x").signalled(&cancel).exit, Exit::Usage);
    }

    #[test]
    fn advice_is_told_as_options() {
        let path = || std::path::PathBuf::from("out");
        let iteration =
            |there| checkpoint::Error::NoSuchIteration { path: path(), iteration: 1, there };
        let cases: [(Error, _, _); 3] = [
            (
                store::Error::OutputExists { path: path() }.into(),
                "out already exists",
                "--overwrite",
            ),
            (iteration(vec![7]).into(), "out has no iteration 1; it has 7", "--iteration N"),
            (iteration(vec![]).into(), "out has no iteration 1; it has no iterations", ""),
        ];
        for (error, message, help) in cases {
            let failure = Failure::from(error);
            assert_eq!(failure.message, message);
            assert_eq!(failure.help.len(), usize::from(!help.is_empty()));
            assert!(failure.help.iter().all(|line| line.contains(help)), "{:?}", failure.help);
        }
        let finding =
            Finding::new(FindingKind::Config, "x", "y").note("z").advise(Advice::TakeConfig);
        let told = &Failure::from(Error::refused(vec![finding])).findings[0];
        assert_eq!((told.notes[0].as_str(), told.advice.len()), ("z", 0));
        assert!(told.notes[1].contains("--hf-config DIR"), "{:?}", told.notes);
    }

    #[test]
    fn a_refusal_says_how_many_findings_there_are() {
        let finding = Finding::new(FindingKind::Config, "config.json", "is missing");
        let failure = Failure::from(Error::refused(vec![finding]));
        let want = "this checkpoint cannot be converted (1 finding); nothing was written";
        assert_eq!((failure.message.as_str(), failure.exit), (want, Exit::Refused));
    }
}

use crate::connector::hub::HubErrorKind;
#[cfg(feature = "candle")]
use crate::model::ModelError;
use crate::{Error, checkpoint, engine, store};
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Ok,
    /// A function of the user failed, or this program has a defect.
    Failed,
    Usage,
    Refused,
    Io,
    Verification,
    Signal(i32),
}

/// What `--help` says about exit codes.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a state transform failed, or connector has a defect
  2    usage: an option, a pattern, the output path, no such importer, no such key
  3    refused: the checkpoint, its config and the importer do not fit; nothing was written
  4    input or output: a file is missing, unreadable, malformed or locked; the disk failed
  5    verification: two checkpoints differ; or what was written is not what was planned, and was
       not published
  130  interrupted (143 terminated); nothing was written";

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Io => 4,
            Exit::Verification => 5,
            // What a shell reports of a process that the signal ended.
            Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(1),
        }
    }

    /// The exit code of an error, and its name in JSON.
    pub fn of(error: &Error) -> (Exit, &'static str) {
        match error {
            Error::Store(error) => Exit::of_store(error),
            Error::Checkpoint(error) => Exit::of_checkpoint(error),
            Error::Engine(error) => Exit::of_engine(error),
            Error::Refused(_) => REFUSED,
            Error::ModelConfig { .. } => MODEL_CONFIG,
            Error::NotOurs { .. } => (Exit::Usage, "not-ours"),
            Error::NoImporter { .. } => (Exit::Usage, "no-importer"),
            Error::NoExporter { .. } => (Exit::Usage, "no-exporter"),
            Error::NoExport { .. } => (Exit::Usage, "no-export"),
            Error::WrittenWrong { .. } => (Exit::Verification, "written-wrong"),
            Error::Candle(_) => CANDLE,
            Error::Diverged { .. } => (Exit::Failed, "diverged"),
            #[cfg(feature = "candle")]
            Error::Model(error) => match error {
                ModelError::Tokenizer { .. } | ModelError::GenerationConfig { .. } => {
                    (Exit::Io, "malformed-file")
                }
                ModelError::NoTokenizer { .. } => (Exit::Io, "no-tokenizer"),
                ModelError::NoBase { .. } => (Exit::Io, "no-base"),
                ModelError::NotNumbers => (Exit::Failed, "not-numbers"),
                _ => (Exit::Usage, "model"),
            },
            Error::Registry { .. } => (Exit::Failed, "registry"),
            Error::WorkerPanicked(_) => DEFECT,
            Error::Hub(error) => match error.kind {
                HubErrorKind::Address(_) => (Exit::Usage, "hub-address"),
                _ => (Exit::Io, "hub"),
            },
            Error::Cancelled => INTERRUPTED,
        }
    }

    fn of_store(error: &store::Error) -> (Exit, &'static str) {
        match error {
            store::Error::Io { .. } => (Exit::Io, "io"),
            store::Error::NotAFile { .. } => (Exit::Io, "not-a-file"),
            store::Error::SourceChanged { .. } => (Exit::Io, "source-changed"),
            store::Error::Locked { .. } => (Exit::Io, "locked"),
            store::Error::InvalidOutput { .. } => (Exit::Usage, "invalid-output"),
            store::Error::OutputExists { .. } => (Exit::Usage, "output-exists"),
            store::Error::NotReplaceable { .. } => (Exit::Usage, "not-replaceable"),
            store::Error::NotSeparate { .. } => (Exit::Usage, "not-separate"),
        }
    }

    fn of_checkpoint(error: &checkpoint::Error) -> (Exit, &'static str) {
        use checkpoint::Error;
        match error {
            Error::Store(error) => Exit::of_store(error),
            Error::Header(_) | Error::TorchDist(_) => (Exit::Io, "malformed-file"),
            Error::Open(_) => (Exit::Io, "no-checkpoint"),
            Error::NoIteration { .. } => (Exit::Io, "no-checkpoint"),
            Error::TrackedIteration { .. } => (Exit::Io, "no-checkpoint"),
            Error::NoTensor { .. } => (Exit::Usage, "no-tensor"),
            Error::NoSuchIteration { .. } => (Exit::Usage, "no-iteration"),
            Error::Damaged { .. } => (Exit::Io, "damaged"),
            Error::Layout(_) | Error::DistLayout(_) => (Exit::Refused, "layout"),
            Error::Refused(_) => REFUSED,
            Error::ModelConfig { .. } => MODEL_CONFIG,
            Error::WorkerPanicked(_) => DEFECT,
            Error::Cancelled(_) => INTERRUPTED,
        }
    }

    fn of_engine(error: &engine::Error) -> (Exit, &'static str) {
        use engine::Error;
        match error {
            Error::Store(error) => Exit::of_store(error),
            Error::NeedsCandle { .. } => (Exit::Usage, "needs-candle"),
            Error::Function { .. } => (Exit::Failed, "transform-failed"),
            Error::Candle(_) => CANDLE,
            Error::Refused(_) => REFUSED,
            Error::WorkerPanicked(_) => DEFECT,
            Error::Cancelled(_) => INTERRUPTED,
        }
    }
}

// What several floors can say.
const REFUSED: (Exit, &str) = (Exit::Refused, "refused");
const MODEL_CONFIG: (Exit, &str) = (Exit::Refused, "model-config");
const CANDLE: (Exit, &str) = (Exit::Failed, "candle");
const DEFECT: (Exit, &str) = (Exit::Failed, "defect");
const INTERRUPTED: (Exit, &str) = (Exit::Signal(2), "interrupted");

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_end_as_a_shell_reports_them() {
        for (exit, code) in [
            (Exit::Ok, 0),
            (Exit::Refused, 3),
            (Exit::Signal(2), 130),
            (Exit::Signal(15), 143),
            (Exit::Signal(1000), 1),
        ] {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn the_help_lists_every_code() {
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Refused,
            Exit::Io,
            Exit::Verification,
            Exit::Signal(2),
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {} ", exit.code())), "{exit:?}");
        }
    }
}

use crate::Error;
use crate::connector::hub::HubErrorKind;
#[cfg(feature = "candle")]
use crate::model::ModelError;
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
            Error::Io { .. } => (Exit::Io, "io"),
            Error::NotAFile { .. } => (Exit::Io, "not-a-file"),
            Error::Header(_) => (Exit::Io, "malformed-file"),
            Error::TorchDist(_) => (Exit::Io, "malformed-file"),
            Error::NoIteration { .. } => (Exit::Io, "no-checkpoint"),
            Error::TrackedIteration { .. } => (Exit::Io, "no-checkpoint"),
            Error::NoSuchIteration { .. } => (Exit::Usage, "no-iteration"),
            Error::Open(_) => (Exit::Io, "no-checkpoint"),
            Error::Locked { .. } => (Exit::Io, "locked"),
            Error::SourceChanged { .. } => (Exit::Io, "source-changed"),
            Error::Damaged { .. } => (Exit::Io, "damaged"),
            Error::DistLayout(_) => (Exit::Refused, "layout"),
            Error::Layout(_) => (Exit::Refused, "layout"),
            Error::Refused(_) => (Exit::Refused, "refused"),
            Error::ModelConfig { .. } => (Exit::Refused, "model-config"),
            Error::InvalidOutput { .. } => (Exit::Usage, "invalid-output"),
            Error::OutputExists { .. } => (Exit::Usage, "output-exists"),
            Error::NotReplaceable { .. } => (Exit::Usage, "not-replaceable"),
            Error::NotOurs { .. } => (Exit::Usage, "not-ours"),
            Error::NotSeparate { .. } => (Exit::Usage, "not-separate"),
            Error::NoImporter { .. } => (Exit::Usage, "no-importer"),
            Error::NoExporter { .. } => (Exit::Usage, "no-exporter"),
            Error::NoExport { .. } => (Exit::Usage, "no-export"),
            Error::NeedsCandle { .. } => (Exit::Usage, "needs-candle"),
            Error::WrittenWrong { .. } => (Exit::Verification, "written-wrong"),
            Error::Function { .. } => (Exit::Failed, "transform-failed"),
            Error::Candle(_) => (Exit::Failed, "candle"),
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
            Error::WorkerPanicked => (Exit::Failed, "defect"),
            Error::Hub(error) => match error.kind {
                HubErrorKind::Address(_) => (Exit::Usage, "hub-address"),
                _ => (Exit::Io, "hub"),
            },
            Error::Cancelled => (Exit::Signal(2), "interrupted"),
        }
    }
}

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

use crate::base::{Cancelled, CandleError, Location, Refusal, WorkerPanicked};
use crate::store;
use crate::transform::BoxError;

/// The result of running a plan.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plan did not run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Tensors are not as the plan needs them.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A user's function failed.
    #[error("{name} ({at}) failed at {output}: {source}")]
    Function {
        /// The function.
        name: &'static str,
        /// Where it is written.
        at: Location,
        /// The tensor that it was to make.
        output: String,
        /// What it said.
        source: BoxError,
    },
    /// The plan calls a user's function, and this build has no candle.
    #[error("{name} ({at}) works on tensors; build with the feature `candle`")]
    NeedsCandle {
        /// The function.
        name: &'static str,
        /// Where it is written.
        at: Location,
    },
    /// candle could not make, move or read a tensor.
    #[error(transparent)]
    Candle(#[from] CandleError),
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A thread panicked.
    #[error(transparent)]
    WorkerPanicked(#[from] WorkerPanicked),
}

impl Error {
    /// A refusal with these findings.
    pub(crate) fn refused(findings: Vec<crate::base::Finding>) -> Self {
        Refusal::new(findings).into()
    }

    /// For `map_err`: an error of candle.
    #[cfg(feature = "candle")]
    pub(super) fn candle(error: candle_core::Error) -> Self {
        CandleError::from(error).into()
    }
}

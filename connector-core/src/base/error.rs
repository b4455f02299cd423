//! What any work can come to, on whatever floor it is done.

/// It was stopped on request, with nothing left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped on request; nothing was written")]
pub struct Cancelled;

/// A worker thread panicked, which is a defect of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker thread panicked; this is a defect, please report it")]
pub struct WorkerPanicked;

/// candle could not make, move or read a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("candle: {0}")]
pub struct CandleError(pub String);

/// Without the backtrace that candle's own text carries.
#[cfg(feature = "candle")]
impl From<candle_core::Error> for CandleError {
    fn from(error: candle_core::Error) -> Self {
        let text = error.to_string();
        CandleError(text.lines().next().unwrap_or_default().into())
    }
}

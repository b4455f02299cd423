//! Why a server's answer is of no use.

use super::{Address, Hub, HubError, HubErrorKind};
use crate::Error;
use std::time::Duration;

/// What a request is about that is about no file.
pub(super) const LIST: &str = "the list of files";

/// Why there is no answer, or not all of it. No text here has an address: some are signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The user asked to stop, or the disk failed.
    #[error(transparent)]
    Here(Error),
    /// The server refuses.
    #[error("{host} answers with status {status}{}", if *.is_hub || !is_refusal(*.status) { "" } else { " (it is not the hub's own server, and gets no token)" })]
    Status {
        host: String,
        status: u16,
        /// Whether it was the server that gets the token.
        is_hub: bool,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The time for it is over.
    #[error("{host} did not answer within {limit:?}")]
    Late { host: String, limit: Duration },
    /// Nothing came for too long; but something had come before.
    #[error("{host} sent nothing for {limit:?}")]
    Stalled { host: String, limit: Duration },
    /// The connection failed or ended.
    #[error("{host}: {reason}")]
    Connection { host: String, reason: String },
    /// No hub answers so.
    #[error("{host} answers with {answer}")]
    Lie { host: String, answer: String },
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Here(error.into())
    }
}

impl Failure {
    /// As an error about a model; `what` is the file, or [`LIST`].
    pub fn about(self, hub: &Hub, address: &Address, what: &str) -> Error {
        let kind = match self {
            Failure::Here(error) => return error,
            Failure::Status { status, is_hub: true, .. } if is_refusal(status) => {
                HubErrorKind::Unauthorized { token: hub.token.is_some() }
            }
            Failure::Status { status: 404, is_hub: true, .. } if what == LIST => {
                HubErrorKind::NotFound
            }
            Failure::Lie { host, answer } => {
                HubErrorKind::Protocol { what: what.into(), host, answer }
            }
            failure => HubErrorKind::Download { what: what.into(), source: failure.into() },
        };
        HubError::new(address, kind).into()
    }

    /// Whether it may be gone the next time. A server that kept silent is not waited for twice:
    /// others wait meanwhile for the model.
    pub fn passes(&self) -> bool {
        match self {
            Failure::Status { status, .. } => matches!(status, 408 | 429 | 500..),
            Failure::Connection { .. } | Failure::Stalled { .. } => true,
            Failure::Here(_) | Failure::Late { .. } | Failure::Lie { .. } => false,
        }
    }
}

/// Whether a status says that a token is needed, or another one.
fn is_refusal(status: u16) -> bool {
    matches!(status, 401 | 403)
}

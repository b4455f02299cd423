use std::error::Error as StdError;

/// Why a model of the hub is not there.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {kind}")]
#[non_exhaustive]
pub struct HubError {
    /// `hf://org/name@revision`.
    pub address: String,
    /// Why.
    pub kind: HubErrorKind,
}

/// The kinds of [`HubError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubErrorKind {
    /// Nothing on the hub can have this address.
    #[error("{0}")]
    Address(&'static str),
    /// Neither the model nor the revision may be known from the hub's answer: it says the same of
    /// what does not exist and of what is private.
    #[error("the hub has no such model or revision, or does not show it to you")]
    NotFound,
    /// A token is needed, or the one that was sent has no access.
    #[error("the hub refuses access: {}", if *.token { "the token that was sent is not valid, or its user has not accepted the model's licence" } else { "there is no such model, or it is private or gated, and no token was sent" })]
    Unauthorized {
        /// Whether a token was sent.
        token: bool,
    },
    /// The network must not be used, and the cache does not have it.
    #[error("it is not in the hub's cache{}, and HF_HUB_OFFLINE forbids to download", missing(.0))]
    Offline(Vec<String>),
    /// This program cannot download.
    #[error("it is not in the hub's cache{}, and this build cannot download", missing(.0))]
    NoDownload(Vec<String>),
    /// There are no weights that can be read.
    #[error("there are no safetensors files and no pytorch_model.bin")]
    NoWeights,
    /// What was downloaded is not what the hub announced. It was thrown away.
    #[error("{file} arrived damaged from {host}: {problem}; it was thrown away")]
    Damaged {
        /// The file.
        file: String,
        /// The server that announced it.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A server sends what no hub sends: names, hashes, lengths that cannot be, redirects without
    /// end.
    #[error(
        "asked for {what}, {host} answers with {answer}, which no hub does; nothing of it was kept"
    )]
    Protocol {
        /// The file, or "the list of files".
        what: String,
        /// The server.
        host: String,
        /// What it sends.
        answer: String,
    },
    /// The connection failed, again and again. What arrived is kept.
    #[error("{what} could not be downloaded: {source}")]
    Download {
        /// The file, or "the list of files".
        what: String,
        /// Which server did what.
        source: Box<dyn StdError + Send + Sync>,
    },
}

fn missing(files: &[String]) -> String {
    match files {
        [] => String::new(),
        [one] => format!(" ({one} is missing)"),
        [first, rest @ ..] => format!(" ({first} and {} more files are missing)", rest.len()),
    }
}

impl HubError {
    pub(super) fn new(address: impl ToString, kind: HubErrorKind) -> Self {
        HubError { address: address.to_string(), kind }
    }

    /// What may help.
    pub fn help(&self) -> Option<String> {
        Some(match &self.kind {
            HubErrorKind::Address(_) => {
                "write hf://mistralai/Mistral-7B-v0.1, or give a directory".into()
            }
            HubErrorKind::NotFound => "check the spelling; for a private model set HF_TOKEN to a \
                                       token that may read it"
                .into(),
            HubErrorKind::Unauthorized { token: false } => {
                "check the spelling; for a private or gated model accept its licence on its page, and \
                 set HF_TOKEN to a token that may read it"
                    .into()
            }
            HubErrorKind::Unauthorized { token: true } => {
                "accept the licence on the model's page, and check the token: HF_TOKEN, or the file \
                 `token` in HF_HOME"
                    .into()
            }
            HubErrorKind::Offline(_) => "unset HF_HUB_OFFLINE, or fill the cache with `hf download`".into(),
            HubErrorKind::NoDownload(_) => {
                "build with the feature `hub`, or fill the cache with `hf download`".into()
            }
            HubErrorKind::NoWeights => {
                "look at the model's files on its page: it may be in another format, or an adapter".into()
            }
            HubErrorKind::Damaged { .. } => "try again; the other files are kept".into(),
            HubErrorKind::Protocol { .. } => "check HF_ENDPOINT".into(),
            HubErrorKind::Download { .. } => {
                "try again, which goes on where it stopped; behind a proxy set HTTPS_PROXY, for a \
                 mirror HF_ENDPOINT"
                    .into()
            }
        })
    }
}

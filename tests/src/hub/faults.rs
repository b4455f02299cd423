//! The lies and failures of a [`HubServer`](super::HubServer).

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Whoever sends another token has no access.
    pub token: Option<String>,
    /// No request is answered.
    pub silent: bool,
    /// So many answers are "503", or "429" if they say when to come again.
    pub unavailable: usize,
    /// `Retry-After` of these.
    pub retry_after: Option<String>,
    /// Where the hub sends whoever asks it.
    pub redirect: Option<Redirect>,

    /// What becomes of the list of files.
    pub list: Option<List>,
    /// A further file that is listed.
    pub lists: Option<String>,

    /// What stands in place of each ETag, in which `HASH` is the right one; if empty there is none.
    pub etag: Option<String>,
    /// The commit that files are said to be of; if empty it is not said.
    pub commit: Option<String>,
    /// The length that files are said to have; if empty it is not said.
    pub size: Option<String>,

    /// What becomes of the bytes of files.
    pub content: Option<Content>,
    /// So many times the connection ends in the middle of a file's bytes.
    pub cuts: usize,
    /// So many times nothing more comes in the middle of a file's bytes.
    pub stalls: usize,
    /// So many times a bit of a file is wrong.
    pub flips: usize,
    /// Where to go on is not heeded: files come from their first byte.
    pub no_ranges: bool,
    /// The range that an answer to "from here on" is said to be.
    pub range: Option<String>,
}

/// Where a hub sends whoever asks it.
#[derive(Clone, Debug)]
pub enum Redirect {
    /// To another path of its own, as for a model that was renamed.
    Moved,
    /// To the other server, which has all that the hub has, as a mirror does.
    Elsewhere,
    /// To the same path again.
    Loop,
    /// To any place.
    To(String),
}

/// What becomes of the list of files.
#[derive(Clone, Copy, Debug)]
pub enum List {
    /// Half of it comes, of the announced length.
    Cut,
    /// Half of it is all of it.
    Half,
    /// It has no end.
    Endless,
    /// It comes byte by byte.
    Drips,
}

/// What becomes of the bytes of files.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// There is only this status.
    Status(&'static str),
    /// There are more of them, and their number is said.
    Longer,
    /// There are more of them, and their number is not said.
    ChunkedLonger,
    /// Their number is not said.
    Chunked,
    /// They have no end, and no number.
    Endless,
    /// They come one by one.
    Drips,
    /// They do not come.
    Silent,
}

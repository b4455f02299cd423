//! What the hub is asked: which files a revision has, what each is, and for their bytes.

use super::blob::{Announced, ETag};
use super::deadline::Deadline;
use super::failure::Failure;
use super::http::{Answer, Client};
use super::local::is_commit;
use super::site::encoded;
use super::{Address, Hub};
use crate::Cancel;
use serde::Deserialize;

/// The largest list of files that is read; one of 10,000 files has 1 MB.
const LIST: usize = 16 << 20;

/// A model, as the server has it.
pub(super) struct Remote<'a> {
    pub hub: &'a Hub,
    pub cancel: &'a Cancel,
    client: Client<'a>,
    repository: &'a str,
}

/// What a revision is.
pub(super) struct Listing {
    pub commit: String,
    pub names: Vec<String>,
    /// The server that says so.
    pub host: String,
}

impl<'a> Remote<'a> {
    pub fn new(hub: &'a Hub, address: &'a Address, cancel: &'a Cancel) -> Result<Self, Failure> {
        let client = Client::new(hub, cancel)?;
        Ok(Remote { hub, cancel, client, repository: address.repository() })
    }

    /// The commit that a revision is now, and its files.
    pub fn list(&self, revision: &str) -> Result<Listing, Failure> {
        #[derive(Deserialize)]
        struct Model {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }

        let (repository, revision) = (self.repository, revision.replace('/', "%2F"));
        let deadline = Deadline::after(self.hub.patience);
        let path = format!("/api/models/{repository}/revision/{revision}");
        let mut answer = self.client.get(&path, 0)?;
        let json = answer.whole(LIST, deadline)?;
        let model: Model = serde_json::from_slice(&json).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            answer.lie(format!(
                "something that is not a list of files (line {line}, column {column})"
            ))
        })?;
        if !is_commit(&model.sha) {
            return Err(answer.lie(format!("the commit {:?}", model.sha)));
        }
        let names = model.siblings.into_iter().map(|file| file.rfilename).collect();
        Ok(Listing { commit: model.sha, names, host: answer.site().to_string() })
    }

    /// What the file `name` of a commit is. A large file lies elsewhere; the redirect there says it.
    pub fn announced<'n>(&self, commit: &str, name: &'n str) -> Result<Announced<'n>, Failure> {
        let says_enough = |answer: &Answer| says(answer).is_some();
        let answer = self.client.head(&self.path(commit, name), says_enough)?;
        let said = says(&answer).ok_or_else(|| answer.lie("no commit, ETag or length"))?;
        let (found, etag, bytes) = said;
        if found != commit {
            return Err(answer.lie(format!("the commit {found:?}")));
        }
        let etag = ETag::new(etag).ok_or_else(|| answer.lie(format!("the ETag {etag:?}")))?;
        if bytes == 0 && !etag.is_of_nothing() {
            return Err(
                answer.lie(format!("the length 0 and an ETag that no empty file has, {etag}"))
            );
        }
        Ok(Announced { name, etag, bytes, host: answer.site().to_string() })
    }

    /// The bytes of a file, from `from` on if the server can do that: the answer says which.
    pub fn content(&self, commit: &str, name: &str, from: u64) -> Result<Answer<'a>, Failure> {
        self.client.get(&self.path(commit, name), from)
    }

    fn path(&self, commit: &str, name: &str) -> String {
        format!("/{}/resolve/{commit}/{}", self.repository, encoded(name))
    }
}

/// Commit, ETag and length, if an answer says them all. A redirect has an ETag and a length of its
/// own, which are not those of the file.
fn says<'a>(answer: &'a Answer) -> Option<(&'a str, &'a str, u64)> {
    let own = |name| answer.header(name).filter(|_| answer.is_success());
    let commit = answer.header("x-repo-commit")?;
    let etag = answer.header("x-linked-etag").or_else(|| own("etag"))?;
    let bytes = answer.header("x-linked-size").or_else(|| own("content-length"))?;
    Some((commit, etag, bytes.parse().ok()?))
}

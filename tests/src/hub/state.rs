//! What the server has, and what it answers.

use super::MODEL;
use super::faults::{Content, Faults, List, Redirect};
use super::http::{Answer, Flow, Request};
use serde_json::json;
use sha1::Digest;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What stands before each path of a model that was renamed.
const MOVED: &str = "/moved";

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Hub,
    /// Where large files lie.
    Elsewhere,
}

/// A request that came.
pub struct Seen {
    pub place: Place,
    pub path: String,
    pub text: String,
}

pub struct State {
    /// The files of each commit.
    pub commits: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The commit that `main` is.
    pub main: String,
    pub faults: Faults,
    pub seen: Vec<Seen>,
    elsewhere: SocketAddr,
}

impl State {
    pub fn new(elsewhere: SocketAddr) -> Self {
        let (commits, main, faults) = Default::default();
        State { commits, main, faults, seen: Vec::new(), elsewhere }
    }

    /// The answer, if there is to be one.
    pub fn respond(&mut self, request: &Request, place: Place) -> Option<Answer> {
        let (path, text) = (request.path.clone(), request.text.clone());
        self.seen.push(Seen { place, path, text });
        if self.faults.silent {
            return None;
        }
        if self.faults.unavailable > 0 {
            self.faults.unavailable -= 1;
            return Some(match &self.faults.retry_after {
                Some(time) => Answer::empty("429 Too Many Requests").with("Retry-After", time),
                None => Answer::empty("503 Service Unavailable"),
            });
        }
        let path = request.path.split('?').next().unwrap_or_default();
        if let Some(hash) = path.strip_prefix("/content/") {
            let mut files = self.commits.values().flat_map(BTreeMap::values);
            return match files.find(|bytes| sha256(bytes) == hash).cloned() {
                Some(bytes) => self.bytes(request, bytes, String::new()),
                None => Some(Answer::empty("404 Not Found")),
            };
        }
        let moved = path.strip_prefix(MOVED);
        if place == Place::Hub
            && moved.is_none()
            && let Some(redirect) = &self.faults.redirect
        {
            let location = match redirect {
                Redirect::Moved => format!("{MOVED}{}", request.path),
                Redirect::Elsewhere => format!("http://{}{}", self.elsewhere, request.path),
                Redirect::Loop => request.path.clone(),
                Redirect::To(location) => location.clone(),
            };
            return Some(Answer::empty("307 Temporary Redirect").with("Location", &location));
        }
        self.model(request, moved.unwrap_or(path))
    }

    /// What the hub says of its model.
    fn model(&mut self, request: &Request, path: &str) -> Option<Answer> {
        let refused = Some(Answer::empty("401 Unauthorized"));
        let missing = Some(Answer::empty("404 Not Found"));
        if self.faults.token.is_some() && request.token != self.faults.token {
            return refused;
        }
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{MODEL}/revision/")) {
            let Some((commit, files)) = self.commit(revision) else { return missing };
            let names = files.keys().chain(&self.faults.lists);
            let siblings: Vec<_> = names.map(|name| json!({ "rfilename": name })).collect();
            let body = json!({ "sha": commit, "siblings": siblings }).to_string();
            return Some(self.list(body.into()));
        }
        let file = path.strip_prefix(&format!("/{MODEL}/resolve/"));
        let file = file.and_then(|file| file.split_once('/'));
        let found = file.and_then(|(revision, name)| {
            let (commit, files) = self.commit(revision)?;
            Some((commit.clone(), name, files.get(name).cloned()))
        });
        // As the hub does, which does not tell what is private from what does not exist.
        let nothing = if request.token.is_none() { refused } else { missing };
        let Some((commit, name, bytes)) = found else { return nothing };
        let Some(bytes) = bytes else { return Some(Answer::empty("404 Not Found")) };

        let header = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!("{name}: {value}\r\n"),
        };
        let commit = header("X-Repo-Commit", self.faults.commit.as_ref().unwrap_or(&commit));
        let etag = |name: &str, hash: &str| match &self.faults.etag {
            Some(etag) => header(name, &etag.replace("HASH", hash)),
            None => header(name, &format!("\"{hash}\"")),
        };
        let len = bytes.len().to_string();
        let len = self.faults.size.as_ref().unwrap_or(&len).clone();
        if name.ends_with(".safetensors") || name.ends_with(".bin") {
            // As the hub does with large files: the content is elsewhere, at an address that is
            // signed.
            let hash = sha256(&bytes);
            let location = format!("http://{}/content/{hash}?Signature=s3cret", self.elsewhere);
            let headers = commit + &etag("X-Linked-ETag", &hash) + &header("X-Linked-Size", &len);
            let body = b"Found. Redirecting".to_vec();
            let answer = Answer::new("302 Found", headers + "ETag: \"redirect\"\r\n", body);
            return Some(answer.with("Location", &location));
        }
        let git = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
        let headers = commit + &etag("ETag", &hex(git.chain_update(&bytes)));
        if request.is_head {
            let mut answer = Answer::new("200 OK", headers, Vec::new());
            answer.len = Some(len).filter(|len| !len.is_empty());
            return Some(answer);
        }
        self.bytes(request, bytes, headers)
    }

    fn list(&self, body: Vec<u8>) -> Answer {
        let len = body.len().to_string();
        let json = "Content-Type: application/json\r\n".to_string();
        let mut answer = Answer::new("200 OK", json, body);
        match self.faults.list {
            None => {}
            Some(List::Cut) => answer.body.truncate(answer.body.len() / 2),
            Some(List::Half) => {
                answer.body.truncate(answer.body.len() / 2);
                answer.len = Some(answer.body.len().to_string());
                return answer;
            }
            Some(List::Endless) => {
                answer.body = vec![b' '; 1 << 20];
                (answer.len, answer.flow) = (None, Flow::Endless);
                return answer;
            }
            Some(List::Drips) => answer.flow = Flow::Drips,
        }
        answer.len = Some(len);
        answer
    }

    /// The bytes that are asked for, as far as nothing goes wrong.
    fn bytes(&mut self, request: &Request, all: Vec<u8>, headers: String) -> Option<Answer> {
        let faults = &mut self.faults;
        let total = all.len();
        // Small files come whole, so that it is the weights that end early.
        let is_large = total > 20_000;
        let from = if faults.no_ranges { 0 } else { request.from };
        if from > 0 && from >= total {
            return Some(Answer::empty("416 Range Not Satisfiable"));
        }
        let mut answer = Answer::new("200 OK", headers, all[from..].to_vec());
        if from > 0 {
            let range = format!("bytes {from}-{}/{total}", total - 1);
            let range = faults.range.clone().unwrap_or(range);
            answer.status = "206 Partial Content";
            answer = answer.with("Content-Range", &range);
        }
        let one_of = |count: &mut usize| {
            let is_one = is_large && *count > 0;
            *count -= usize::from(is_one);
            is_one
        };
        if faults.flips > 0
            && let Some(last) = answer.body.last_mut()
        {
            faults.flips -= 1;
            *last ^= 1;
        }
        if one_of(&mut faults.cuts) {
            answer.body.truncate(answer.body.len() / 2);
        } else if one_of(&mut faults.stalls) {
            answer.body.truncate(answer.body.len() / 2);
            answer.flow = Flow::Stalls;
        }
        match faults.content {
            None => {}
            Some(Content::Status(status)) => return Some(Answer::empty(status)),
            Some(Content::Silent) => return None,
            Some(Content::Longer) => {
                answer.body.extend(b"more");
                answer.len = Some(answer.body.len().to_string());
            }
            Some(Content::Chunked) => answer.len = None,
            Some(Content::ChunkedLonger) => {
                answer.body.extend(b"more");
                answer.len = None;
            }
            Some(Content::Endless) => (answer.len, answer.flow) = (None, Flow::Endless),
            Some(Content::Drips) => answer.flow = Flow::Drips,
        }
        Some(answer)
    }

    fn commit(&self, revision: &str) -> Option<(&String, &BTreeMap<String, Vec<u8>>)> {
        let revision = if revision == "main" { &self.main } else { revision };
        self.commits.get_key_value(revision)
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(sha2::Sha256::new_with_prefix(bytes))
}

pub fn hex(hash: impl Digest) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

//! A server on this machine's loopback that speaks as much of the hub's API as a download needs.

use serde_json::json;
use sha1::Digest;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// The only model of a [`HubServer`].
pub const MODEL: &str = "org/tiny";

/// A hub with one model, `org/tiny`, on a port of its own. It ends with the value.
pub struct HubServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The files of each commit.
    commits: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The commit that `main` is.
    main: String,
    faults: Faults,
    /// Paths that were asked for.
    asked: Vec<String>,
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Whoever sends another token has no access.
    pub token: Option<String>,
    /// So many times the connection ends in the middle of a file's bytes.
    pub cuts: usize,
    /// Where to go on is not heeded: files come from their first byte.
    pub no_ranges: bool,
    /// So many times a bit of a file is wrong.
    pub flips: usize,
    /// So many answers are "503".
    pub unavailable: usize,
    /// A further file that is listed.
    pub lists: Option<String>,
    /// What stands in place of each ETag.
    pub etag: Option<String>,
    /// No request is answered.
    pub silent: bool,
}

impl HubServer {
    /// Serves the files of `dir` as the commit `main`.
    pub fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = HubServer { address, state: Arc::default() };
        server.publish(dir);
        let state = Arc::clone(&server.state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                // The server's end wakes it up with a connection.
                if Arc::strong_count(&state) == 1 {
                    return;
                }
                // Who goes away in the middle is no concern of the server.
                let state = Arc::clone(&state);
                thread::spawn(move || drop(answer(stream, address, &state)));
            }
        });
        server
    }

    /// What `HF_ENDPOINT` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes the files of `dir` the commit that `main` is, and returns it.
    pub fn publish(&self, dir: &Path) -> String {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            files.insert(name, fs::read(entry.path()).expect("a file"));
        }
        let mut hash = sha1::Sha1::new();
        files.iter().for_each(|(name, bytes)| {
            hash.update(name);
            hash.update(bytes);
        });
        let commit = hex(hash);
        let mut state = self.state.lock().expect("the state");
        state.commits.insert(commit.clone(), files);
        state.main.clone_from(&commit);
        commit
    }

    /// Sets what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        let mut state = self.state.lock().expect("the state");
        state.faults = Faults::default();
        change(&mut state.faults);
    }

    /// The paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("the state").asked)
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.state = Arc::default();
        // It is waiting for a connection; if there can be none, it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

/// A request: the path, and the headers that matter.
struct Request {
    path: String,
    token: Option<String>,
    from: Option<usize>,
    to: Option<usize>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let path = lines.next()?.split(' ').nth(1)?.to_string();
        let (mut token, mut range) = (None, None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ")?;
            match name.to_ascii_lowercase().as_str() {
                "authorization" => token = value.strip_prefix("Bearer ").map(Into::into),
                "range" => range = value.strip_prefix("bytes=").map(ToString::to_string),
                _ => {}
            }
        }
        let (from, to) = range.as_deref().and_then(|range| range.split_once('-')).unzip();
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        Some(Request { path, token, from: number(from), to: number(to) })
    }
}

fn answer(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let Some(request) = Request::read(&stream) else { return Ok(()) };
    if state.lock().expect("the state").faults.silent {
        // Until the other side has enough of it.
        return std::io::copy(&mut stream, &mut std::io::sink()).map(drop);
    }
    let (head, body) = {
        let mut state = state.lock().expect("the state");
        state.asked.push(request.path.clone());
        state.respond(&request, address)
    };
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

impl State {
    fn respond(&mut self, request: &Request, address: SocketAddr) -> (String, Vec<u8>) {
        let simple = |status: &str| (head(status, "", 0), Vec::new());
        if self.faults.unavailable > 0 {
            self.faults.unavailable -= 1;
            return simple("503 Service Unavailable");
        }
        let path = request.path.split('?').next().unwrap_or_default();
        if let Some(hash) = path.strip_prefix("/content/") {
            let mut files = self.commits.values().flat_map(BTreeMap::values);
            return match files.find(|bytes| sha256(bytes) == hash).cloned() {
                Some(bytes) => self.bytes(request, bytes, ""),
                None => simple("404 Not Found"),
            };
        }
        let missing = if request.token.is_none() { "401 Unauthorized" } else { "404 Not Found" };
        if self.faults.token.is_some() && request.token != self.faults.token {
            return simple("401 Unauthorized");
        }
        if let Some(revision) = path.strip_prefix(&format!("/api/models/{MODEL}/revision/")) {
            let Some((commit, files)) = self.commit(revision) else {
                return simple("404 Not Found");
            };
            let names = files.keys().chain(&self.faults.lists);
            let siblings: Vec<_> = names.map(|name| json!({ "rfilename": name })).collect();
            let body = json!({ "sha": commit, "siblings": siblings }).to_string();
            return (head("200 OK", "Content-Type: application/json\r\n", body.len()), body.into());
        }
        let file = path.strip_prefix(&format!("/{MODEL}/resolve/"));
        let Some((revision, name)) = file.and_then(|file| file.split_once('/')) else {
            return simple(missing);
        };
        let Some((commit, files)) = self.commit(revision) else { return simple(missing) };
        let Some(bytes) = files.get(name).cloned() else { return simple("404 Not Found") };
        let commit = format!("X-Repo-Commit: {commit}\r\n");
        if name.ends_with(".safetensors") || name.ends_with(".bin") {
            // As the hub does with large files: the content is elsewhere.
            let hash = sha256(&bytes);
            let etag = self.faults.etag.clone().unwrap_or_else(|| hash.clone());
            let more = format!(
                "{commit}X-Linked-ETag: \"{etag}\"\r\nLocation: http://{address}/content/{hash}\r\n"
            );
            return (head("302 Found", &more, 0), Vec::new());
        }
        let git = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
        let etag = hex(git.chain_update(&bytes));
        let etag = self.faults.etag.clone().unwrap_or(etag);
        self.bytes(request, bytes, &format!("{commit}ETag: \"{etag}\"\r\n"))
    }

    /// The bytes that are asked for, as far as nothing goes wrong.
    fn bytes(&mut self, request: &Request, mut all: Vec<u8>, more: &str) -> (String, Vec<u8>) {
        let total = all.len();
        let probe = request.to.is_some();
        let from = if self.faults.no_ranges && !probe { 0 } else { request.from.unwrap_or(0) };
        if from >= total {
            return (head("416 Range Not Satisfiable", more, 0), Vec::new());
        }
        let end = request.to.map_or(total, |to| total.min(to + 1));
        if !probe && self.faults.flips > 0 {
            self.faults.flips -= 1;
            all[total - 1] ^= 1;
        }
        let mut part = all[from..end].to_vec();
        let more = format!("{more}Content-Range: bytes {from}-{}/{total}\r\n", end - 1);
        let status = if self.faults.no_ranges && !probe { "200 OK" } else { "206 Partial Content" };
        let head = head(status, &more, part.len());
        // Small files come whole, so that it is the weights that end early.
        if !probe && self.faults.cuts > 0 && total > 20_000 {
            self.faults.cuts -= 1;
            part.truncate(part.len() / 2);
        }
        (head, part)
    }

    fn commit(&self, revision: &str) -> Option<(&String, &BTreeMap<String, Vec<u8>>)> {
        let revision = if revision == "main" { &self.main } else { revision };
        self.commits.get_key_value(revision)
    }
}

fn head(status: &str, more: &str, len: usize) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: {len}\r\nConnection: close\r\n\r\n")
}

fn sha256(bytes: &[u8]) -> String {
    hex(sha2::Sha256::new_with_prefix(bytes))
}

fn hex(hash: impl Digest) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

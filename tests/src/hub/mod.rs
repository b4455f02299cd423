//! A server on this machine's loopback that speaks as much of the hub's API as a download needs, and
//! lies as it is told.

mod faults;
mod http;
mod state;

pub use faults::{Content, Faults, List, Redirect};

use http::{Request, wait};
use sha1::Digest;
use state::{Place, Seen, State};
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The only model of a [`HubServer`].
pub const MODEL: &str = "org/tiny";

/// A hub with one model, `org/tiny`, on a port of its own, and another server on another port, where
/// large files lie. They end with the value.
pub struct HubServer {
    places: [(Place, SocketAddr); 2],
    state: Arc<Mutex<State>>,
}

impl HubServer {
    /// Serves the files of `dir` as the commit `main`.
    pub fn start(dir: &Path) -> Self {
        let [hub, elsewhere] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let places = [(Place::Hub, address(&hub)), (Place::Elsewhere, address(&elsewhere))];
        let state = Arc::new(Mutex::new(State::new(address(&elsewhere))));
        let server = HubServer { places, state };
        server.publish(dir);
        for (place, listener) in [(Place::Hub, hub), (Place::Elsewhere, elsewhere)] {
            let state = Arc::downgrade(&server.state);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    // The server's end wakes it up with a connection.
                    let (Ok(stream), Some(state)) = (stream, state.upgrade()) else { return };
                    // Who goes away in the middle is no concern of the server.
                    thread::spawn(move || drop(answer(stream, place, state)));
                }
            });
        }
        server
    }

    /// What `HF_ENDPOINT` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.places[0].1)
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
        let commit = state::hex(hash);
        let mut state = lock(&self.state);
        state.commits.insert(commit.clone(), files);
        state.main.clone_from(&commit);
        commit
    }

    /// Sets what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        let mut state = lock(&self.state);
        state.faults = Faults::default();
        change(&mut state.faults);
    }

    /// The paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        let seen = std::mem::take(&mut lock(&self.state).seen);
        seen.into_iter().map(|seen| seen.path).collect()
    }

    /// The requests, all of their text, that came to the hub itself, and to the other server.
    pub fn requests(&self) -> (Vec<String>, Vec<String>) {
        let seen = std::mem::take(&mut lock(&self.state).seen);
        let (hub, elsewhere): (Vec<Seen>, Vec<Seen>) =
            seen.into_iter().partition(|seen| seen.place == Place::Hub);
        let texts = |seen: Vec<Seen>| seen.into_iter().map(|seen| seen.text).collect();
        (texts(hub), texts(elsewhere))
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.state = Arc::new(Mutex::new(State::new(self.places[1].1)));
        for (_, address) in self.places {
            // It is waiting for a connection; if there can be none, it has ended.
            let _ = TcpStream::connect(address);
        }
    }
}

fn answer(stream: TcpStream, place: Place, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let Some(request) = Request::read(&stream) else { return Ok(()) };
    let answer = lock(&state).respond(&request, place);
    // The server's end need not wait for who is slow.
    drop(state);
    match answer {
        Some(answer) => answer.send(stream, request.is_head),
        None => wait(stream),
    }
}

/// A thread that panicked is a test's failure already.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

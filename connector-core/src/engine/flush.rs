use crate::engine::Result;
use crate::store::{FileId, Part, Sink, file_count};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// How much is written before the disk is asked to take it: often enough that it never idles, and
/// seldom enough that a request to a disk with its own cache does not show.
const PORTION: u64 = 64 << 20;

/// Brings what is written to the disk while more is being written, on a thread of its own, so that
/// little is left to be waited for at the end.
pub(super) struct Flusher<'a> {
    sink: &'a dyn Sink,
    /// The bytes of each file that the disk was not asked for yet.
    written: Vec<AtomicU64>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The bytes of all files that the disk was not asked for yet.
    written: u64,
    done: bool,
}

impl<'a> Flusher<'a> {
    pub fn new(sink: &'a dyn Sink, places: &[Vec<Part>]) -> Self {
        let written = (0..file_count(places)).map(|_| AtomicU64::new(0)).collect();
        Flusher { sink, written, state: Mutex::default(), changed: Condvar::new() }
    }

    /// So many more bytes of a file are written.
    pub fn advance(&self, file: FileId, bytes: u64) {
        self.written[file].fetch_add(bytes, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.written += bytes;
        if state.written >= PORTION {
            self.changed.notify_one();
        }
    }

    /// Nothing more will be written; [`run`](Self::run) returns soon.
    pub fn finish(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).done = true;
        self.changed.notify_one();
    }

    /// Works until [`finish`](Self::finish). What is written last is left to whoever publishes.
    ///
    /// # Errors
    /// The system tells once that a write has failed, so it must be told on.
    pub fn run(&self) -> Result<()> {
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.written < PORTION && !state.done {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.done {
                return Ok(());
            }
            state.written = 0;
            drop(state);
            for (file, written) in self.written.iter().enumerate() {
                if written.swap(0, Ordering::Relaxed) > 0 {
                    self.sink.sync(file)?;
                }
            }
        }
    }
}

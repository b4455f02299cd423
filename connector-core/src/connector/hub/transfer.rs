//! Brings the bytes of one file to the disk, and goes on where an earlier try stopped.

use super::HubProgress;
use super::blob::Announced;
use super::deadline::Deadline;
use super::failure::Failure;
use super::http::Answer;
use super::remote::Remote;
use super::retry::again;
use crate::Result;
use crate::store;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// The bytes per second below which a server is given up.
const SLOWEST: u64 = 1 << 10;

/// Receives the bytes of a file of `commit` into `part`, of which there may be some already, until
/// there are as many as were announced. No byte beyond these is written. Whether they are the right
/// ones is not known yet.
pub(super) fn receive(
    remote: &Remote,
    commit: &str,
    file: &Announced,
    part: &Path,
    watch: &mut Watch,
) -> Result<(), Failure> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(part);
    let mut out = opened.map_err(store::Error::io("create", part))?;
    again(remote.hub, remote.cancel, || {
        let from = out.metadata().map_err(store::Error::io("read", part))?.len();
        watch.reached(from);
        if from >= file.bytes {
            return Ok(());
        }
        let answer = remote.content(commit, file.name, from)?;
        let begin = begin(&answer, file, from)?;
        let placed = out.set_len(begin).and_then(|()| out.seek(SeekFrom::Start(begin)));
        placed.map_err(store::Error::io("write", part))?;
        append(remote, file, answer, begin, (&mut out, part), watch)
    })?;
    Ok(out.sync_all().map_err(store::Error::io("sync", part))?)
}

/// Where in the file an answer begins: where it was asked to, or with the first byte.
fn begin(answer: &Answer, file: &Announced, from: u64) -> Result<u64, Failure> {
    let begin = match (answer.status, answer.header("content-range")) {
        (206, Some(range)) if is_range(range, from, file.bytes) => from,
        (206, range) => {
            let range = range.unwrap_or("unknown");
            return Err(answer
                .lie(format!("the range {range:?} where the one from byte {from} was asked for")));
        }
        _ => 0,
    };
    let rest = file.bytes - begin;
    match answer.header("content-length").and_then(|len| len.parse::<u64>().ok()) {
        // Of a range a server may send less than was asked for.
        Some(len) if len > rest || len < rest && begin == 0 => {
            Err(answer.lie(format!("{len} bytes where {rest} were announced")))
        }
        _ => Ok(begin),
    }
}

/// Whether a `Content-Range` begins at `from`, in a file of `bytes` bytes.
fn is_range(range: &str, from: u64, bytes: u64) -> bool {
    let parts = range.strip_prefix("bytes ").and_then(|range| {
        let (span, total) = range.split_once('/')?;
        Some((span.split_once('-')?.0.parse().ok()?, total))
    });
    parts.is_some_and(|(first, total): (u64, &str)| {
        first == from && (total == "*" || total.parse() == Ok(bytes))
    })
}

/// Writes the body of an answer, which begins at byte `at` of the file.
fn append(
    remote: &Remote,
    file: &Announced,
    mut answer: Answer,
    mut at: u64,
    (out, part): (&mut File, &Path),
    watch: &mut Watch,
) -> Result<(), Failure> {
    let allowed = Duration::from_secs((file.bytes - at) / SLOWEST);
    let deadline = Deadline::after(remote.hub.stall.saturating_add(allowed));
    while let Some(piece) = answer.piece(deadline)? {
        if piece.len() as u64 > file.bytes - at {
            return Err(answer.lie(format!("more than the announced {} bytes", file.bytes)));
        }
        out.write_all(&piece).map_err(store::Error::io("write", part))?;
        at += piece.len() as u64;
        watch.reached(at);
    }
    if at < file.bytes {
        let reason = format!("the connection ended after {at} of {} bytes", file.bytes);
        return Err(Failure::Connection { host: answer.site().to_string(), reason });
    }
    Ok(())
}

/// Counts the bytes of one file, of which no try tells those that an earlier one told.
pub(super) struct Watch<'a> {
    progress: &'a dyn HubProgress,
    told: u64,
}

impl<'a> Watch<'a> {
    pub fn new(progress: &'a dyn HubProgress) -> Self {
        Watch { progress, told: 0 }
    }

    fn reached(&mut self, at: u64) {
        if at > self.told {
            self.progress.advance(at - self.told);
            self.told = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_one_that_was_asked_for() {
        for (range, want) in [
            ("bytes 5-9/10", true),
            ("bytes 5-9/*", true),
            ("bytes 5-6/10", true),
            ("bytes 0-9/10", false),
            ("bytes 4-9/10", false),
            ("bytes 5-9/11", false),
            ("bytes 5-9/0", false),
            ("bytes */10", false),
            ("bytes 5", false),
            ("5-9/10", false),
            ("", false),
        ] {
            assert_eq!(is_range(range, 5, 10), want, "{range}");
        }
    }
}

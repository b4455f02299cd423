//! Checksums that were written with the bytes of tensors: the CRC-32s of torch's zip archives.
//!
//! Nothing that is read from a source with checksums is believed without them. [`Checking`] is a source
//! around that source, which takes the CRCs of what passes, so that hardly anything is read twice;
//! [`check`] reads every byte for them alone.

mod checking;
mod stretches;

pub(crate) use checking::Checking;
pub(super) use stretches::Stretches;

use super::safetensors::shown;
use super::torch::zip::Crc;
use crate::base::parallel::in_parallel;
use crate::base::{Cancel, Progress};
use crate::checkpoint::Result;
use crate::store::{Checksum, Source};
use std::ops::Range;
use std::path::PathBuf;

/// How much is read at a time to compute a CRC: it stays in the nearest caches.
const BLOCK: u64 = 128 << 10;

/// What reading every byte found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Checked {
    /// How many records are what was written, by their CRCs.
    pub records: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many records have no CRC.
    pub without: usize,
    /// Those that changed.
    pub damaged: Vec<Damage>,
}

/// A record whose bytes are not those that were written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: the record of `{}` at byte {start} has the CRC {found:08x}, and should have {crc:08x}",
    path.display(), shown(tensor)
)]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The tensor in it, or the first of several.
    pub tensor: String,
    /// Where in the file its bytes begin.
    pub start: u64,
    /// The CRC that was written.
    pub crc: u32,
    /// That of the bytes that are there.
    pub found: u32,
}

/// Reads every byte that has a checksum, on `threads` threads.
///
/// # Errors
/// [`Error::Io`](crate::store::Error::Io),
/// [`Error::Cancelled`](crate::checkpoint::Error::Cancelled).
pub(super) fn check(
    source: &dyn Source,
    threads: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Checked> {
    let size = |sum: &Checksum| sum.bytes.end - sum.bytes.start;
    let sums: Vec<&Checksum> = source.checksums().iter().filter(|sum| sum.crc.is_some()).collect();
    progress.begin(sums.iter().map(|sum| size(sum)).sum());
    let damaged = in_parallel(threads, sums.len(), |number| -> Result<_> {
        let found = read(source, sums[number], cancel)?;
        progress.advance(size(sums[number]));
        Ok(compare(source, sums[number], found))
    })?;
    let mut all = Checked { without: source.checksums().len() - sums.len(), ..Checked::default() };
    for (sum, damage) in sums.into_iter().zip(damaged) {
        match damage {
            None => (all.records, all.bytes) = (all.records + 1, all.bytes + size(sum)),
            Some(damage) => all.damaged.push(damage),
        }
    }
    Ok(all)
}

/// The CRC of the bytes that are there.
fn read(source: &dyn Source, sum: &Checksum, cancel: &Cancel) -> Result<u32> {
    crc_of(&sum.bytes, |at, buffer| {
        cancel.check()?;
        Ok(source.read_at(sum.file, at, buffer)?)
    })
}

/// What is wrong if the bytes have the CRC `found`.
fn compare(source: &dyn Source, sum: &Checksum, found: u32) -> Option<Damage> {
    let (path, start) = (source.path(sum.file), sum.bytes.start);
    let damage = |crc| Damage { path: path.into(), tensor: sum.tensor.clone(), start, crc, found };
    sum.crc.filter(|&crc| crc != found).map(damage)
}

/// The CRC of bytes of a file, which `read` reads from a place on.
pub(super) fn crc_of<E>(
    bytes: &Range<u64>,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<u32, E> {
    let mut buffer = vec![0; (bytes.end - bytes.start).min(BLOCK) as usize];
    let mut crc = Crc::new();
    let mut at = bytes.start;
    while at < bytes.end {
        let len = (bytes.end - at).min(buffer.len() as u64) as usize;
        read(at, &mut buffer[..len])?;
        crc.update(&buffer[..len]);
        at += len as u64;
    }
    Ok(crc.finalize())
}

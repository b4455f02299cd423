//! Files since torch 1.6: a zip archive of a pickle and the storages that it names.

use super::{LONGEST_PICKLE, Problem, Storage, Storages};
use crate::checkpoint::files::OpenFile;
use crate::checkpoint::torch::zip::Archive;

/// What every zip archive begins with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

/// The pickle, and where in the file each storage lies.
pub(super) fn read(file: &OpenFile) -> Result<(Vec<u8>, Storages), Problem> {
    let archive = Archive::open(&file.file, 0..file.len)?;
    if archive.member("constants.pkl").is_ok() {
        return Err(Problem::TorchScript);
    }
    // Archives of before torch 2.0 do not say it: they all are little-endian.
    if let Ok(order) = archive.member("byteorder")
        && archive.read(order, 16)? != b"little"
    {
        return Err(Problem::BigEndian);
    }
    let pickle = archive.read(archive.member("data.pkl")?, LONGEST_PICKLE)?;
    let storages = archive.members().iter().filter_map(|member| {
        let key = member.name.strip_prefix("data/")?;
        Some((key.to_string(), Storage { bytes: member.data.clone(), crc: member.crc() }))
    });
    Ok((pickle, storages.collect()))
}

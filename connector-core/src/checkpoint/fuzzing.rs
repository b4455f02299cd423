//! The fuzz targets for the pickles and archives of torch. The others are in
//! [`crate::fuzzing`].

use super::torch::pickle::Pickle;
use super::torch::tensor::Rebuilt;
use super::torch::zip::{Archive, with_tensors};
use super::torch_dist;
use crate::store::positioned::write_all_at;
use std::fs::File;

/// Bytes as a pickle: of a tensor, of `.metadata`, of a command line.
pub fn pickle(bytes: &[u8]) {
    if let Ok(pickle) = Pickle::read(bytes) {
        drop(Rebuilt::parse(pickle.top("data.pkl")));
        torch_dist::fuzz_pickle(bytes);
    }
}

thread_local! {
    /// A file, because that is what archives are read from.
    static FILE: File = tempfile();
}

fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!("connector-fuzz-{}", std::process::id()));
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(true).open(&path);
    // Its name is not needed any more.
    drop(std::fs::remove_file(&path));
    match file {
        Ok(file) => file,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Bytes as an archive, with the record of a tensor in it.
pub fn zip(bytes: &[u8]) {
    const MOST: u64 = 1 << 16;
    FILE.with(|file| {
        if file.set_len(0).is_err() || write_all_at(file, bytes, 0).is_err() {
            return;
        }
        let range = 0..bytes.len() as u64;
        if let Ok(archive) = Archive::open(file, range.clone()) {
            for member in archive.members() {
                assert!(member.data.start <= member.data.end && member.data.end <= range.end);
                drop(archive.read(member, MOST));
            }
            torch_dist::fuzz_record(file, range);
        }
    });
}

/// An archive of a pickle and the storages that it names `0`, `1`…
pub(crate) fn archive(pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    with_tensors(pickle, storages)
}

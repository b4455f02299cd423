//! What the fuzz targets in `fuzz/` call, and the tests with what they found.

use super::torch::pickle::Pickle;
use super::torch::tensor::Rebuilt;
use super::torch::zip::Archive;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs a target on every file of its corpus; at least what the repository has.
    fn corpus(name: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 3, "{name}");
    }

    #[test]
    fn what_fuzzing_found_is_harmless() {
        corpus("pickle", super::pickle);
        corpus("zip", super::zip);
    }
}

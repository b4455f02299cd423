//! What the hub says that a file is, and whether what lies on the disk is that.

use crate::store;
use crate::{Cancel, Result};
use sha1::Digest;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest ETag that becomes the name of a file.
const LONGEST: usize = 128;

/// A file as the hub announces it.
#[derive(Debug)]
pub(super) struct Announced<'a> {
    pub name: &'a str,
    pub etag: ETag,
    pub bytes: u64,
    /// The server that announced it.
    pub host: String,
}

/// What names a content, and its file in the cache: the hash of it on the hub, SHA-256 of large
/// files and git's of small ones; on a mirror perhaps anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ETag(String);

impl ETag {
    /// Reads the header `"…"` or `W/"…"`; none if it cannot be the name of a file.
    pub fn new(header: &str) -> Option<Self> {
        let header = header.trim();
        let text = header.strip_prefix("W/").unwrap_or(header).trim_matches('"');
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let is_name = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_plain);
        is_name.then(|| ETag(text.into()))
    }

    /// Whether it is a hash, so that a content can be held against it.
    pub fn is_hash(&self) -> bool {
        self.hasher(0).is_some()
    }

    /// Whether an empty file has it. Of one that is no hash that cannot be known.
    pub fn is_of_nothing(&self) -> bool {
        self.hasher(0).is_some_and(|hasher| hasher.gives(self))
    }

    /// What computes it of a content of `bytes` bytes; none if it is no hash.
    fn hasher(&self, bytes: u64) -> Option<Hasher> {
        if !self.0.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        match self.0.len() {
            64 => Some(Hasher::Sha256(sha2::Sha256::new())),
            40 => Some(Hasher::Git(sha1::Sha1::new_with_prefix(format!("blob {bytes}\0")))),
            _ => None,
        }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum Hasher {
    Sha256(sha2::Sha256),
    Git(sha1::Sha1),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Git(hasher) => hasher.update(bytes),
        }
    }

    fn gives(self, etag: &ETag) -> bool {
        let hash = match self {
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
            Hasher::Git(hasher) => hasher.finalize().to_vec(),
        };
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        hash.eq_ignore_ascii_case(&etag.0)
    }
}

/// What is wrong with the content at `path`: its length, or its hash where the ETag is one. Of what
/// a mirror names otherwise only the length can be told.
pub(super) fn problem(
    path: &Path,
    announced: &Announced,
    cancel: &Cancel,
) -> Result<Option<String>> {
    let read = || store::Error::io("read", path);
    let mut file = File::open(path).map_err(read())?;
    let len = file.metadata().map_err(read())?.len();
    if len != announced.bytes {
        return Ok(Some(format!("it has {len} bytes, the hub announced {}", announced.bytes)));
    }
    let Some(mut hasher) = announced.etag.hasher(len) else { return Ok(None) };
    let mut buffer = vec![0; 1 << 20];
    loop {
        cancel.check()?;
        match file.read(&mut buffer).map_err(read())? {
            0 => break,
            len => hasher.update(&buffer[..len]),
        }
    }
    let differs = !hasher.gives(&announced.etag);
    Ok(differs.then(|| "its hash is not the one that the hub announced".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIT: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn etags_become_names() {
        for (header, want) in [
            ("\"abc-1\"", Some("abc-1")),
            ("abc", Some("abc")),
            (" W/\"abc\" ", Some("abc")),
            ("", None),
            ("\"\"", None),
            ("W/\"\"", None),
            ("\"../x\"", None),
            ("\"a/b\"", None),
            ("\"a.b\"", None),
            ("\"a\\b\"", None),
            ("w/\"a\"", None),
            ("\"a\"b\"", None),
        ] {
            assert_eq!(ETag::new(header).map(|etag| etag.0).as_deref(), want, "{header}");
        }
        assert_eq!(ETag::new(&"a".repeat(LONGEST)).unwrap().0.len(), LONGEST);
        assert_eq!(ETag::new(&"a".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn nothing_has_a_hash() {
        for (etag, want) in [
            (GIT, true),
            (SHA256, true),
            (&*SHA256.to_uppercase(), true),
            (&SHA256.replace('e', "f"), false),
            (&GIT.replace('e', "f"), false),
            (&GIT.replace('e', "x"), false),
            ("mirror-1", false),
        ] {
            assert_eq!(ETag::new(etag).unwrap().is_of_nothing(), want, "{etag}");
        }
    }

    #[test]
    fn a_content_is_what_was_announced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "hello\n").unwrap();
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for (etag, bytes, want) in [
            ("ce013625030ba8dba906f756967f9e9ca394464a", 6, None),
            (sha256, 6, None),
            ("mirror-1", 6, None),
            (sha256, 5, Some("it has 6 bytes, the hub announced 5")),
            ("mirror-1", 7, Some("it has 6 bytes, the hub announced 7")),
            (SHA256, 6, Some("its hash is not the one that the hub announced")),
            (GIT, 6, Some("its hash is not the one that the hub announced")),
        ] {
            let etag = ETag::new(etag).unwrap();
            let announced = Announced { name: "x", etag, bytes, host: String::new() };
            let found = problem(&path, &announced, &Cancel::default()).unwrap();
            assert_eq!(found.as_deref(), want, "{announced:?}");
        }
    }
}

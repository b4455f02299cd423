use super::owner::Owner;
use crate::store::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

pub(super) const STAGING: &str = ".connector-staging";
pub(super) const OLD: &str = ".connector-old";
pub(super) const LOCK: &str = ".connector-lock";

/// Where an output goes, and the names beside it that this tool uses on the way there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The directory as the user wrote it, for messages.
    pub(super) shown: PathBuf,
    /// The directory that will hold the output: absolute, without links, perhaps not there yet.
    pub(super) parent: PathBuf,
    name: OsString,
    /// Who uses the names, where no lock says that there is one process only.
    owner: Option<Owner>,
}

impl Place {
    /// The place of `target`, which need not exist, nor its parents.
    pub(crate) fn new(target: &Path) -> Result<Self> {
        let invalid = |reason| Error::InvalidOutput { path: target.into(), reason };
        // `.`, `..` and `/` may well exist, but nothing can be written beside them and renamed.
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            return Err(invalid("it does not end with a name; name the new directory itself"));
        };
        let bytes = name.as_encoded_bytes();
        if leftover(bytes).is_some() || bytes.ends_with(LOCK.as_bytes()) {
            return Err(invalid("names with this ending are used while an output is written"));
        }
        Ok(Place { shown: target.into(), parent: resolve(parent)?, name: name.into(), owner: None })
    }

    /// The same place, with names for the output under way that nobody else has.
    pub(super) fn own(&self) -> Self {
        Place { owner: Some(Owner::new()), ..self.clone() }
    }

    /// The same place as others use it, or used it, who took names of their own.
    pub(super) fn of_others(&self) -> Result<Vec<Place>> {
        let entries = match fs::read_dir(&self.parent) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(Error::io("read", &self.parent)(error)),
        };
        let mut places = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::io("read", &self.parent))?.file_name();
            if let Some((output, owner @ Some(_))) = leftover(name.as_encoded_bytes())
                && output == self.name.as_encoded_bytes()
            {
                places.push(Place { owner, ..self.clone() });
            }
        }
        Ok(places)
    }

    /// Whether who uses these names is known to be gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::is_dead)
    }

    /// The name of the output beside which a file of this name lies.
    pub(super) fn of_leftover(name: &str) -> Option<&str> {
        let lock = name.strip_prefix('.').and_then(|name| name.strip_suffix(LOCK));
        lock.or_else(|| str::from_utf8(leftover(name.as_bytes())?.0).ok())
    }

    /// The finished output.
    pub(super) fn target(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// The output while it is being written.
    pub(crate) fn staging(&self) -> PathBuf {
        self.beside(STAGING)
    }

    /// The replaced output, for as long as the new one takes its place by two renames.
    pub(super) fn old(&self) -> PathBuf {
        self.beside(OLD)
    }

    /// The lock file.
    pub(super) fn lock(&self) -> PathBuf {
        self.named(LOCK)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        match &self.owner {
            None => self.named(suffix),
            Some(owner) => self.named(&format!("{suffix}-{owner}")),
        }
    }

    fn named(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(suffix);
        self.parent.join(name)
    }
}

/// Of which output, and whose, something of this name is that is written or was replaced.
fn leftover(name: &[u8]) -> Option<(&[u8], Option<Owner>)> {
    let name = name.strip_prefix(b".")?;
    [STAGING, OLD].iter().find_map(|suffix| {
        let suffix = suffix.as_bytes();
        if let Some(output) = name.strip_suffix(suffix) {
            return Some((output, None));
        }
        let at = name.windows(suffix.len()).rposition(|part| part == suffix)?;
        let owner = name[at + suffix.len()..].strip_prefix(b"-")?;
        let owner = Owner::parse(str::from_utf8(owner).ok()?)?;
        Some((&name[..at], Some(owner)))
    })
}

/// Refuses an output that is the source, lies inside it, or holds it.
///
/// Links are followed, also those on the way to an output that does not exist yet.
///
/// # Errors
/// [`Error::NotSeparate`]; [`Error::Io`] if the source does not exist or a path cannot be followed.
pub(crate) fn check_separate(source: &Path, target: &Path) -> Result<()> {
    let inner = fs::canonicalize(source).map_err(Error::io("find", source))?;
    let outer = resolve(target)?;
    if inner.starts_with(&outer) || outer.starts_with(&inner) {
        return Err(Error::NotSeparate { input: source.into(), output: target.into() });
    }
    Ok(())
}

/// The bytes that are free for this user where `dir` lies or will lie.
///
/// `None` if the system does not say.
pub fn available_space(dir: &Path) -> Option<u64> {
    space(&nearest(dir).ok()?.0)
}

#[cfg(unix)]
fn space(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(not(unix))]
fn space(_dir: &Path) -> Option<u64> {
    None
}

/// `path` as an absolute path without links, whether or not all of it exists.
fn resolve(path: &Path) -> Result<PathBuf> {
    let (mut resolved, missing) = nearest(path)?;
    for component in missing.components() {
        // Behind a directory that does not exist, `..` means nothing.
        let Component::Normal(name) = component else {
            let reason = "`..` follows a directory that does not exist";
            return Err(Error::InvalidOutput { path: path.into(), reason });
        };
        resolved.push(name);
    }
    Ok(resolved)
}

/// The nearest ancestor of `path` that exists, absolute and without links, and what is missing.
fn nearest(path: &Path) -> Result<(PathBuf, &Path)> {
    for ancestor in path.ancestors() {
        // The last ancestor of a relative path is the empty one.
        let place = if ancestor == OsStr::new("") { Path::new(".") } else { ancestor };
        match fs::canonicalize(place) {
            Ok(found) => return Ok((found, path.strip_prefix(ancestor).unwrap_or(Path::new("")))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("find", place)(error)),
        }
    }
    Err(Error::io("find", path)(io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_target_must_end_with_a_name() {
        for target in ["", ".", "..", "/", "a/..", "../.."] {
            let message = message(Place::new(Path::new(target)));
            assert!(message.contains("name the new directory"), "{target}: {message}");
        }
        let own = Place::new(Path::new("b")).unwrap().own().staging();
        for name in ["a/.b.connector-lock", ".b.connector-old", own.to_str().unwrap()] {
            let message = message(Place::new(Path::new(name)));
            assert!(message.contains("names with this ending"), "{message}");
        }
    }

    #[test]
    fn the_parent_is_resolved() {
        let here = fs::canonicalize(".").unwrap();
        for (target, parent) in
            [("out", here.clone()), ("./out/.", here.clone()), ("x/y/out/", here.join("x/y"))]
        {
            let place = Place::new(Path::new(target)).unwrap();
            assert_eq!((&place.parent, place.target()), (&parent, parent.join("out")), "{target}");
        }
        let place = Place::new(Path::new("out")).unwrap();
        assert_eq!(place.staging(), here.join(".out.connector-staging"));
        assert_eq!(place.old(), here.join(".out.connector-old"));
        assert_eq!(place.lock(), here.join(".out.connector-lock"));
        let own = place.own();
        assert_eq!(own.lock(), place.lock());
        assert_ne!(own.staging(), place.own().staging());
        let name = own.staging().file_name().unwrap().to_str().unwrap().to_string();
        assert!(name.starts_with(".out.connector-staging-"), "{name}");
        assert_eq!(Place::of_leftover(&name), Some("out"));
        let message = message(Place::new(Path::new("missing/../x/out")));
        assert!(message.contains("`..` follows a directory"), "{message}");
    }

    #[test]
    fn source_and_output_are_kept_apart() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        let apart = |output: &Path| check_separate(&source, output);
        apart(&dir.path().join("source2")).unwrap();
        apart(&dir.path().join("x/y/source")).unwrap();
        for output in ["source", "source/out", "source/x/y", "source/../source/out"] {
            let message = message(apart(&dir.path().join(output)));
            assert!(message.contains("source"), "{output}: {message}");
        }
        assert!(matches!(apart(dir.path()), Err(Error::NotSeparate { .. })));
        let missing = dir.path().join("none");
        assert!(message(check_separate(&missing, &source)).contains("cannot find"));
    }

    #[test]
    fn a_source_that_is_a_file_is_kept_apart_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        fs::write(&file, "").unwrap();
        check_separate(&file, &dir.path().join("out")).unwrap();
        assert!(check_separate(&file, &file).is_err());
        assert!(check_separate(&file, dir.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_hide_that_the_places_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (source, link) = (dir.path().join("source"), dir.path().join("link"));
        fs::create_dir(&source).unwrap();
        std::os::unix::fs::symlink(&source, &link).unwrap();
        assert!(check_separate(&source, &link.join("new/out")).is_err());
        assert!(check_separate(&link, &source.join("out")).is_err());
        assert!(check_separate(&link, &source).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn free_space_is_that_of_the_nearest_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert!(available_space(dir.path()).unwrap() > 0);
        assert!(available_space(&dir.path().join("not/there")).unwrap() > 0);
        assert!(available_space(Path::new("not-there")).unwrap() > 0);
    }
}

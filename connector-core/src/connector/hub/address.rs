use super::{HubError, HubErrorKind};
use crate::Result;
use std::fmt;
use std::path::{Path, PathBuf};

/// How the hub's addresses begin.
const SCHEME: &str = "hf://";
/// Its pages, which people copy from a browser.
const PAGES: [&str; 2] = ["https://huggingface.co/", "http://huggingface.co/"];

/// A model on the hub: `hf://org/name`, or `hf://org/name@revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    repository: String,
    revision: Option<String>,
}

/// Where a checkpoint is: what a user writes for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A path: `./llama`, `hf:///abs/path`.
    Local(PathBuf),
    /// A model on the hub.
    Hub(Address),
}

impl Address {
    /// The address `org/name`, at a branch, a tag or a commit; `None` is the branch `main`.
    ///
    /// # Errors
    /// [`HubErrorKind::Address`] if no repository or revision can be called so.
    pub fn new(repository: &str, revision: Option<&str>) -> Result<Self> {
        let wrong = |reason| {
            let revision = revision.map(|r| format!("@{r}")).unwrap_or_default();
            HubError::new(format!("{SCHEME}{repository}{revision}"), HubErrorKind::Address(reason))
        };
        let parts: Vec<&str> = repository.split('/').collect();
        if parts.len() != 2 {
            return Err(wrong("it is not hf://ORG/NAME or hf://ORG/NAME@REVISION").into());
        }
        if !parts.into_iter().all(is_name) {
            return Err(wrong("no organisation or model is called so").into());
        }
        if revision.is_some_and(|revision| !revision.split('/').all(is_revision)) {
            return Err(wrong("no branch, tag or commit is called so").into());
        }
        Ok(Address { repository: repository.into(), revision: revision.map(Into::into) })
    }

    /// `org/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit: `main` if none was given.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// What the hub's cache calls the folder of the model: `models--org--name`.
    pub fn folder(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

impl Origin {
    /// What `source` means.
    ///
    /// # Errors
    /// If it is an address that nothing on the hub can have.
    pub fn new(source: impl AsRef<Path>) -> Result<Self> {
        let path = source.as_ref();
        let local = || Origin::Local(path.into());
        // A path need not be text, an address is.
        let Some(text) = path.to_str() else { return Ok(local()) };
        if let Some(rest) = text.strip_prefix(SCHEME) {
            if Path::new(rest).is_absolute() {
                return Ok(Origin::Local(rest.into()));
            }
            let (repository, revision) = match rest.split_once('@') {
                Some((repository, revision)) => (repository, Some(revision)),
                None => (rest, None),
            };
            return Address::new(repository.trim_end_matches('/'), revision).map(Origin::Hub);
        }
        let Some(rest) = PAGES.iter().find_map(|page| text.strip_prefix(page)) else {
            return Ok(local());
        };
        let rest = rest.trim_end_matches('/');
        let (repository, revision) = match rest.split_once("/tree/") {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (rest, None),
        };
        Address::new(repository, revision).map(Origin::Hub)
    }
}

/// The hub's names become names of folders here.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.ends_with(['.', '-'])
        && !name.contains("--")
        && !name.contains("..")
}

/// One part of a branch's name, or all of a tag or commit.
fn is_revision(part: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    !part.is_empty() && part.chars().all(is_plain) && !part.starts_with('.') && !part.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for (source, want) in [
            ("hf://org/name", "hf://org/name"),
            ("hf://org/name/", "hf://org/name"),
            ("hf://org/name@main", "hf://org/name@main"),
            ("hf://org/name@refs/pr/1", "hf://org/name@refs/pr/1"),
            ("https://huggingface.co/org/na.me_1-x", "hf://org/na.me_1-x"),
            ("https://huggingface.co/org/name/tree/v1", "hf://org/name@v1"),
        ] {
            let Origin::Hub(address) = Origin::new(source).unwrap() else { panic!("{source}") };
            assert_eq!(address.to_string(), want);
        }
        for (source, want) in
            [("org/name", "org/name"), ("hf/x", "hf/x"), ("/a@b", "/a@b"), ("hf:///a/b", "/a/b")]
        {
            assert_eq!(Origin::new(source).unwrap(), Origin::Local(want.into()), "{source}");
        }
    }

    #[test]
    fn what_nothing_is_called_is_refused() {
        for source in [
            "hf://",
            "hf://name",
            "hf://a/b/c",
            "hf://../b",
            "hf://a/..",
            "hf://a/.b",
            "hf://a/b--c",
            "hf://a/b c",
            "hf://a/b@",
            "hf://a/b@../../x",
            "hf://a/b@/x",
            "hf://a/b@x\\y",
            "https://huggingface.co/a/b/blob/main/config.json",
        ] {
            let message = Origin::new(source).unwrap_err().to_string();
            assert!(message.starts_with("hf://"), "{source}: {message}");
        }
    }

    #[test]
    fn the_cache_has_a_folder_for_each() {
        let address = Address::new("org/name", None).unwrap();
        assert_eq!((address.folder().as_str(), address.revision()), ("models--org--name", "main"));
    }
}

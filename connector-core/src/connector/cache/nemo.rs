//! Where NeMo 2 itself looks for a model that was imported.

use crate::Result;
use crate::checkpoint::hub_revision;
use crate::store;
use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Where NeMo looks for the conversion of the model at `source`, before it converts: its
/// `ModelConnector.local_path`.
///
/// That is `org/name` of a model from the hub, and else the last part of the path, in
/// `NEMO_MODELS_CACHE`, or `models` in `NEMO_HOME`, or `~/.cache/nemo/models`. NeMo knows neither
/// revisions nor options there: the place of all of them is one.
///
/// # Errors
/// [`Io`](crate::store::Error::Io) if the path has no last part and cannot be resolved.
pub fn nemo_place(source: &Path) -> Result<PathBuf> {
    place(source, |name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn place(source: &Path, var: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let models = var("NEMO_MODELS_CACHE").map(PathBuf::from);
    let models = models.unwrap_or_else(|| home(&var).join("models"));
    if let Some((repository, _)) = hub_revision(source)? {
        return Ok(models.join(repository));
    }
    let path = std::path::absolute(source).and_then(|path| match path.file_name() {
        Some(_) => Ok(path),
        // It ends in `..`.
        None => path.canonicalize(),
    });
    let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "it has no name of its own");
    let name = path.and_then(|path| path.file_name().map(OsString::from).ok_or_else(nameless));
    Ok(models.join(name.map_err(store::Error::io("name a model after", source))?))
}

/// `NEMO_HOME`, or `~/.cache/nemo`.
pub(super) fn home(var: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let default = || env::home_dir().unwrap_or_default().join(".cache").join("nemo");
    var("NEMO_HOME").map_or_else(default, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(source: &Path, vars: &[(&str, &str)]) -> PathBuf {
        place(source, |name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into())).unwrap()
    }

    #[test]
    fn the_environment_says_where() {
        let source = Path::new("/data/llama-3");
        for (vars, want) in [
            (&[("NEMO_HOME", "/n")][..], "/n/models/llama-3"),
            (&[("NEMO_HOME", "/n"), ("NEMO_MODELS_CACHE", "/m")], "/m/llama-3"),
        ] {
            assert_eq!(place_of(source, vars), Path::new(want), "{vars:?}");
        }
        let default = env::home_dir().unwrap_or_default().join(".cache/nemo/models/llama-3");
        assert_eq!(place_of(source, &[]), default);
    }

    #[test]
    fn a_model_of_the_hub_has_its_organisation_and_a_directory_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = dir.path().join("models--org--name/snapshots/abcdef0123");
        std::fs::create_dir_all(&snapshot).unwrap();
        let vars = [("NEMO_MODELS_CACHE", "/m")];
        assert_eq!(place_of(&snapshot, &vars), Path::new("/m/org/name"));
        for (source, want) in [("llama/", "llama"), ("a/b", "b"), ("a/./b/.", "b")] {
            assert_eq!(place_of(Path::new(source), &vars), Path::new("/m").join(want), "{source}");
        }
        let root = place(Path::new("/"), |_| Some("/m".into())).unwrap_err().to_string();
        assert_eq!(root, "cannot name a model after /: it has no name of its own");
        let up = dir.path().join("models--org--name/snapshots/..");
        assert_eq!(place_of(&up, &vars), Path::new("/m/models--org--name"));
    }
}

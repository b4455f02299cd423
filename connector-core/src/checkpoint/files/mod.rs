//! Which files make up a checkpoint, in whatever container, and what may be wrong with a set of
//! them: the names are Hugging Face's.
//!
//! ```text
//! model.safetensors                      or pytorch_model.bin: the whole model
//! model.safetensors.index.json           or pytorch_model.bin.index.json: which tensor is where
//! model-00001-of-00002.safetensors       or pytorch_model-00001-of-00002.bin
//! ```

mod contents;
mod found;
mod index;
mod open;
mod open_error;
mod problem;
mod set;

pub(in crate::checkpoint) use contents::{ReadSet, read_set};
pub use found::Found;
pub(in crate::checkpoint) use index::to_json;
pub(in crate::checkpoint) use open::{OpenFile, Opened};
pub use open_error::{OpenError, OpenErrorKind};
pub use problem::Problem;
pub(in crate::checkpoint) use set::FileSet;

use super::look;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How the files of a container are called.
#[derive(Debug)]
pub(crate) struct Form {
    /// The ending of its files, and others that are taken if a file is named itself.
    pub extensions: &'static [&'static str],
    /// The file of a model that fits in one.
    pub single: &'static str,
    /// The file that says which tensor is in which shard.
    pub index: &'static str,
    /// What stands before `00001-of-00002` in the name of a shard.
    pub shard: &'static str,
    /// Whether files of this ending with other names are a model too, where there is nothing else:
    /// no one keeps anything else in safetensors, while `.bin` may be anything.
    pub any_name: bool,
}

impl Form {
    /// Whether a directory has files that are called as a model in this form, or a file is one.
    ///
    /// # Errors
    /// If the system refuses to look.
    pub fn is_at(&self, path: &Path) -> Result<bool, OpenError> {
        match look::at(path).map_err(OpenError::io("open", path))? {
            Some(found) if found.is_file() => return Ok(self.takes(path)),
            Some(found) if found.is_dir() => {}
            _ => return Ok(false),
        }
        let is_model = |path: &PathBuf| path.ends_with(self.single) || self.is_shard(path);
        let index = path.join(self.index);
        let index = look::at(&index).map_err(OpenError::io("open", &index))?;
        if index.is_some_and(|found| found.is_file()) {
            return Ok(true);
        }
        let paths = self.paths_in(path).map_err(OpenError::io("read", path))?;
        Ok(paths.iter().any(is_model))
    }

    /// Whether a file of this name may be one.
    pub(super) fn takes(&self, file: &Path) -> bool {
        self.extensions.iter().any(|extension| has_extension(file, extension))
    }

    /// The files of `dir` that are a model where no index tells.
    fn paths_in(&self, dir: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            // A leading dot: what macOS leaves beside copied files, and downloads under way.
            if has_extension(&entry.path(), self.extensions[0])
                && !entry.file_name().as_encoded_bytes().starts_with(b".")
            {
                paths.push(entry.path());
            }
        }
        Ok(self.weight_files(paths))
    }

    /// Which of some files are the model, where no index tells: other files beside a whole one are
    /// other forms of it, or adapters.
    pub fn weight_files(&self, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
        if let Some(single) = paths.iter().find(|path| path.ends_with(self.single)) {
            return vec![single.clone()];
        }
        if !self.any_name || paths.iter().any(|path| self.is_shard(path)) {
            paths.retain(|path| self.is_shard(path));
        }
        paths.sort_unstable();
        paths
    }

    /// Whether a file is called as a shard of a whole model, `model-00001-of-00002.safetensors`.
    /// Mistral puts the model in its own form beside them, `consolidated.safetensors`.
    fn is_shard(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(OsStr::to_str);
        let numbers = name.and_then(|name| {
            name.strip_prefix(self.shard)?.strip_suffix(self.extensions[0])?.strip_suffix('.')
        });
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let of = numbers.and_then(|numbers| numbers.split_once("-of-"));
        of.is_some_and(|(number, count)| is_number(number) && is_number(count))
    }

    /// The files that the index in `dir` lists; `None` without one.
    ///
    /// # Errors
    /// If it cannot be read.
    #[cfg(feature = "hub")]
    pub fn listed_in(&self, dir: &Path) -> Result<Option<Vec<String>>, OpenError> {
        let Some(index) = index::Index::read(&dir.join(self.index))? else { return Ok(None) };
        let mut names = index.weight_map.shards;
        names.retain(|name| index::is_plain_name(name));
        names.sort_unstable();
        Ok(Some(names))
    }

    /// The files of a checkpoint in `dir` that are known to be missing; whether those that are there
    /// are well-formed is another question.
    pub fn missing_files(&self, dir: &Path) -> Vec<String> {
        let set = match FileSet::find(self, dir) {
            Ok(set) => set,
            // An index that leads nowhere.
            Err(error) if error.path.ends_with(self.index) => return vec![self.index.into()],
            Err(_) => return vec![self.single.into()],
        };
        let mut missing: Vec<String> = Vec::new();
        missing.extend(set.shards.iter().filter(|s| !s.path.is_file()).map(|s| s.name.clone()));
        let last = set.shards.last().map(|shard| shard.name.as_str());
        let count = last.filter(|_| set.index.is_none()).and_then(|name| {
            name.strip_suffix(self.extensions[0])?.strip_suffix('.')?.split_once("-of-")
        });
        if let Some((_, count)) = count
            && let Ok(total) = count.parse::<usize>()
        {
            // More would be no checkpoint; the number comes from a name.
            let name = |n| format!("{}{n:05}-of-{count}.{}", self.shard, self.extensions[0]);
            let names = (1..=total.min(10_000)).map(name);
            missing.extend(names.filter(|name| !set.shards.iter().any(|s| s.name == *name)));
        }
        missing
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension() == Some(OsStr::new(extension))
}

#[cfg(test)]
mod tests {
    use crate::checkpoint::{safetensors, torch_save};
    use std::path::PathBuf;

    #[test]
    fn other_files_beside_a_model_are_no_part_of_it() {
        let chosen = |form: &super::Form, names: &[&str]| -> Vec<String> {
            let paths = form.weight_files(names.iter().map(PathBuf::from).collect());
            paths.iter().map(|path| path.display().to_string()).collect()
        };
        let (safe, pickle) = (&safetensors::FORM, &torch_save::FORM);
        assert_eq!(chosen(safe, &["b.safetensors", "a.safetensors"]).len(), 2);
        let whole = ["a.safetensors", "model.safetensors"];
        assert_eq!(chosen(safe, &whole), ["model.safetensors"]);
        let shards = ["consolidated.safetensors", "model-00001-of-00001.safetensors"];
        assert_eq!(chosen(safe, &shards), ["model-00001-of-00001.safetensors"]);
        assert_eq!(chosen(pickle, &["training_args.bin", "optimizer.bin"]), [""; 0]);
        let whole = ["training_args.bin", "pytorch_model.bin"];
        assert_eq!(chosen(pickle, &whole), ["pytorch_model.bin"]);
        let shards = ["pytorch_model-00002-of-00002.bin", "scheduler.bin"];
        assert_eq!(chosen(pickle, &shards), ["pytorch_model-00002-of-00002.bin"]);
    }
}

//! Which files make up a checkpoint.

use super::index::{Index, is_plain_name};
use super::{Form, Found, OpenError, OpenErrorKind, OpenFile, Opened, Problem};
use crate::checkpoint::look;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of a checkpoint, which need not exist or be well-formed.
pub(in crate::checkpoint) struct FileSet {
    pub(super) shards: Vec<Shard>,
    pub(super) index: Option<Index>,
    /// The names in the index under which nothing is looked for.
    pub(super) refused: Vec<String>,
    /// A whole model that lies beside an index of another one.
    pub(super) ambiguous: Option<&'static str>,
}

/// A file of a checkpoint.
pub(super) struct Shard {
    /// The name as the index has it, or fit for a message.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// How many tensors the index lists in it.
    pub(super) listed: usize,
}

impl FileSet {
    /// Looks at a file, or for the files of a directory.
    pub fn find(form: &Form, path: &Path) -> Result<Self, OpenError> {
        let Some(found) = look::at(path).map_err(OpenError::io("open", path))? else {
            return Err(OpenErrorKind::Missing.at(path));
        };
        if found.is_dir() {
            return FileSet::of_dir(form, path);
        }
        if !found.is_file() || !form.takes(path) {
            return Err(OpenErrorKind::NoCheckpoint(Found::file(path)).at(path));
        }
        Ok(FileSet::unlisted(vec![path.into()]))
    }

    fn of_dir(form: &Form, dir: &Path) -> Result<Self, OpenError> {
        if let Some(index) = Index::read(&dir.join(form.index))? {
            return FileSet::listed(form, dir, index);
        }
        let paths = form.paths_in(dir).map_err(OpenError::io("read", dir))?;
        if paths.is_empty() {
            let found = Found::in_dir(dir).map_err(OpenError::io("read", dir))?;
            return Err(OpenErrorKind::NoCheckpoint(found).at(dir));
        }
        Ok(FileSet::unlisted(paths))
    }

    fn listed(form: &Form, dir: &Path, index: Index) -> Result<Self, OpenError> {
        let names = &index.weight_map.shards;
        let mut counts = vec![0; names.len()];
        for (_, shard) in &index.weight_map.tensors {
            counts[*shard] += 1;
        }
        let mut counts: Vec<(&String, usize)> = names.iter().zip(counts).collect();
        counts.sort_unstable();
        let (plain, refused): (Vec<_>, Vec<_>) =
            counts.into_iter().partition(|(name, _)| is_plain_name(name));
        let shard = |(name, listed): (&String, usize)| Shard {
            name: name.clone(),
            path: dir.join(name),
            listed,
        };
        let shards = plain.into_iter().map(shard).collect();
        let refused = refused.into_iter().map(|(name, _)| name.clone()).collect();
        let is_listed = names.iter().any(|shard| shard == form.single);
        let single = dir.join(form.single);
        let lies_beside = || look::at(&single).map_err(OpenError::io("open", &single));
        let ambiguous = !is_listed && lies_beside()?.is_some();
        let ambiguous = ambiguous.then_some(form.single);
        Ok(FileSet { shards, index: Some(index), refused, ambiguous })
    }

    fn unlisted(paths: Vec<PathBuf>) -> Self {
        let shard = |path: PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Shard { name, path, listed: 0 }
        };
        let shards = paths.into_iter().map(shard).collect();
        FileSet { shards, index: None, refused: Vec::new(), ambiguous: None }
    }
}

impl Shard {
    /// Opens the file.
    pub(super) fn open<E>(&self) -> Result<Result<OpenFile, Problem<E>>, OpenError> {
        let opened = OpenFile::open(&self.path).map_err(OpenError::io("open", &self.path))?;
        Ok(match opened {
            Opened::File(file) => Ok(file),
            Opened::NotAFile => Err(Problem::NotAFile { shard: self.name.clone() }),
            Opened::Absent => Err(self.missing()),
        })
    }

    fn missing<E>(&self) -> Problem<E> {
        let link = fs::read_link(&self.path).ok();
        Problem::MissingShard { shard: self.name.clone(), tensors: self.listed, link }
    }
}

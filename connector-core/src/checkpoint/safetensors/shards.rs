//! Which files make up a checkpoint.

use super::index::{Index, is_plain_name};
use super::{Found, INDEX, OpenError, OpenErrorKind, Problem, SINGLE};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The files of a checkpoint, which need not exist or be well-formed.
pub(super) struct ShardSet {
    pub(super) shards: Vec<Shard>,
    pub(super) index: Option<Index>,
    /// The names in the index under which nothing is looked for.
    pub(super) refused: Vec<String>,
    /// Whether a whole model lies beside an index of another one.
    pub(super) ambiguous: bool,
}

/// A file of a checkpoint.
pub(super) struct Shard {
    /// The name as the index has it, or fit for a message.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// How many tensors the index lists in it.
    pub(super) listed: usize,
}

impl ShardSet {
    /// Looks at a file, or for the files of a directory.
    pub(super) fn find(path: &Path) -> Result<Self, OpenError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(OpenErrorKind::Missing.at(path));
            }
            Err(error) => return Err(OpenError::io("open", path)(error)),
        };
        if metadata.is_dir() {
            return ShardSet::of_dir(path);
        }
        if !is_safetensors(path) {
            return Err(OpenErrorKind::NotSafetensors(Found::file(path)).at(path));
        }
        Ok(ShardSet::unlisted(vec![path.into()]))
    }

    fn of_dir(dir: &Path) -> Result<Self, OpenError> {
        if let Some(index) = Index::read(&dir.join(INDEX))? {
            return Ok(ShardSet::listed(dir, index));
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir).map_err(OpenError::io("read", dir))? {
            let entry = entry.map_err(OpenError::io("read", dir))?;
            // A leading dot: what macOS leaves beside copied files, and downloads under way.
            if is_safetensors(entry.path())
                && !entry.file_name().as_encoded_bytes().starts_with(b".")
            {
                paths.push(entry.path());
            }
        }
        if paths.is_empty() {
            let found = Found::in_dir(dir).map_err(OpenError::io("read", dir))?;
            return Err(OpenErrorKind::NotSafetensors(found).at(dir));
        }
        Ok(ShardSet::unlisted(weight_files(paths)))
    }

    fn listed(dir: &Path, index: Index) -> Self {
        let mut counts = BTreeMap::<&str, usize>::new();
        for shard in index.weight_map.map.values() {
            *counts.entry(shard).or_default() += 1;
        }
        let (plain, refused): (Vec<_>, Vec<_>) =
            counts.into_iter().partition(|(name, _)| is_plain_name(name));
        let shard = |(name, listed): (&str, usize)| Shard {
            name: name.into(),
            path: dir.join(name),
            listed,
        };
        let shards = plain.into_iter().map(shard).collect();
        let refused = refused.into_iter().map(|(name, _)| name.into()).collect();
        let ambiguous = !index.weight_map.map.values().any(|shard| shard == SINGLE)
            && dir.join(SINGLE).exists();
        ShardSet { shards, index: Some(index), refused, ambiguous }
    }

    fn unlisted(paths: Vec<PathBuf>) -> Self {
        let shard = |path: PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Shard { name, path, listed: 0 }
        };
        let shards = paths.into_iter().map(shard).collect();
        ShardSet { shards, index: None, refused: Vec::new(), ambiguous: false }
    }
}

impl Shard {
    /// Opens the file, and gives its length.
    pub(super) fn open(&self) -> Result<Result<(File, u64), Problem>, OpenError> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        match fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => {
                return Ok(Err(Problem::NotAFile { shard: self.name.clone() }));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(self.missing())),
            Err(error) => return Err(OpenError::io("open", &self.path)(error)),
        }
        let file = File::open(&self.path).map_err(OpenError::io("open", &self.path))?;
        let len = file.metadata().map_err(OpenError::io("read", &self.path))?.len();
        Ok(Ok((file, len)))
    }

    fn missing(&self) -> Problem {
        let link = fs::read_link(&self.path).ok();
        Problem::MissingShard { shard: self.name.clone(), tensors: self.listed, link }
    }
}

/// Which of some safetensors files are the model, where no index tells: other files beside a whole
/// one are other forms of it, or adapters.
pub(crate) fn weight_files(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    if let Some(single) = paths.iter().find(|path| path.ends_with(SINGLE)) {
        return vec![single.clone()];
    }
    if paths.iter().any(|path| is_shard(path)) {
        paths.retain(|path| is_shard(path));
    }
    paths.sort_unstable();
    paths
}

/// The files that an index lists.
#[cfg(feature = "hub")]
pub(crate) fn weight_files_of(index: &Path) -> Result<Vec<String>, OpenError> {
    let index = Index::read(index)?;
    let listed = index.iter().flat_map(|index| index.weight_map.map.values());
    let mut names: Vec<String> = listed.filter(|name| is_plain_name(name)).cloned().collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The files of a checkpoint in `dir` that are known to be missing; whether those that are there
/// are well-formed is another question.
pub(crate) fn missing_files(dir: &Path) -> Vec<String> {
    let Ok(set) = ShardSet::find(dir) else { return vec![SINGLE.into()] };
    let mut missing: Vec<String> = Vec::new();
    missing.extend(set.shards.iter().filter(|s| !s.path.is_file()).map(|s| s.name.clone()));
    let last = set.shards.last().map(|shard| shard.name.as_str()).filter(|_| set.index.is_none());
    let count = last.and_then(|name| name.strip_suffix(".safetensors")?.split_once("-of-"));
    if let Some((_, count)) = count
        && let Ok(total) = count.parse::<usize>()
    {
        // More would be no checkpoint; the number comes from a name.
        let names = (1..=total.min(10_000)).map(|n| format!("model-{n:05}-of-{count}.safetensors"));
        missing.extend(names.filter(|name| !set.shards.iter().any(|shard| shard.name == *name)));
    }
    missing
}

/// Whether a file is called as a shard of a whole model, `model-00001-of-00002.safetensors`. Mistral
/// puts the model in its own form beside them, `consolidated.safetensors`.
fn is_shard(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    let numbers = name.and_then(|n| n.strip_prefix("model-")?.strip_suffix(".safetensors"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let of = numbers.and_then(|numbers| numbers.split_once("-of-"));
    of.is_some_and(|(number, count)| is_number(number) && is_number(count))
}

fn is_safetensors(path: impl AsRef<Path>) -> bool {
    path.as_ref().extension() == Some(OsStr::new("safetensors"))
}

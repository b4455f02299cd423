use super::hf::Snapshot;
use super::look;
use crate::base::Cancel;
use crate::checkpoint::Result;
use crate::store::{self, Stamp, close, settled};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Endings of files that hold weights in some format, or list such files.
const WEIGHTS: [&str; 12] = [
    ".safetensors",
    ".safetensors.index.json",
    ".bin",
    ".bin.index.json",
    ".pt",
    ".pth",
    ".ckpt",
    ".gguf",
    ".h5",
    ".msgpack",
    ".onnx",
    ".distcp",
];

/// Whether a file of this name holds weights, or lists files that do.
pub(crate) fn holds_weights(name: &str) -> bool {
    WEIGHTS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a file of this name is part of a tokenizer, by the names that transformers and
/// SentencePiece give them.
pub(crate) fn is_tokenizer(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "added_tokens.json",
        "chat_template.jinja",
        "merges.txt",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    ];
    NAMES.contains(&name)
        || name.starts_with("tokenizer.model.")
        || name.starts_with("tekken")
        || name.ends_with(".tiktoken")
}

/// How deep folders are followed: a hub repository has `original/` and `additional_chat_templates/`.
const DEPTH: usize = 3;
/// Where a hub cache has the files that its snapshots link to.
const BLOBS: &str = "blobs";

/// The files of a checkpoint that hold no weights: tokenizer files whatever their names, the
/// configs, templates, the licence; as they were when they were listed. What is copied in the end
/// must be that, or the copy is of files that were never there together.
///
/// Hidden files are none of them, nor are those called as in a list of exceptions. A link to a file
/// counts as the file. One that leads out of the checkpoint may be its owner's way to save space, or
/// a stranger's to a private file: it is announced. What is neither a file nor a folder is refused.
#[derive(Debug)]
pub(crate) struct Sidecars {
    from: PathBuf,
    folders: Vec<String>,
    but: Vec<&'static str>,
    /// Sorted by name.
    files: Vec<Sidecar>,
    /// What a user should know of them.
    pub warnings: Vec<String>,
}

/// A file beside the weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sidecar {
    /// Its name, with `/` between folder and name.
    pub name: String,
    pub path: PathBuf,
    pub stamp: Stamp,
    /// The stamp of the link that leads there, if it is one: it may be sent elsewhere and back.
    link: Stamp,
}

impl Sidecars {
    /// Those in `from`, but for the files called as in `but`.
    ///
    /// # Errors
    /// If one cannot be looked at: left out, it would be lost.
    /// [`NotAFile`](crate::store::Error::NotAFile);
    /// [`SourceChanged`](crate::store::Error::SourceChanged) if they do not come to rest.
    pub fn list(from: &Path, but: &[&'static str]) -> Result<Self> {
        Sidecars::with_folders(from, &[], but)
    }

    /// Those in `from`, and in its `folders`, whose files lie beside the others elsewhere. Of two
    /// with one name the outer one counts.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn with_folders(from: &Path, folders: &[String], but: &[&'static str]) -> Result<Self> {
        let stamps = |found: &Found| {
            Ok(found.files.values().map(|file| (file.path.clone(), file.stamp.clone())).collect())
        };
        let Found { files, warnings } = settled(|| look_into(from, folders, but), stamps)?;
        Ok(Sidecars {
            from: from.into(),
            folders: folders.into(),
            but: but.into(),
            files: files.into_values().collect(),
            warnings,
        })
    }

    /// The folder that they are in.
    pub fn from(&self) -> &Path {
        &self.from
    }

    /// All of them, sorted by name.
    pub fn files(&self) -> &[Sidecar] {
        &self.files
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| file.name.clone()).collect()
    }

    /// Passes if the same files are there, unchanged.
    ///
    /// # Errors
    /// [`SourceChanged`](crate::store::Error::SourceChanged) with the first that is not; as
    /// [`list`](Self::list).
    pub fn check_unchanged(&self) -> Result<()> {
        let now = look_into(&self.from, &self.folders, &self.but)?.files;
        let known = |name: &str| self.files.iter().find(|file| file.name == name);
        let changed = self.files.iter().find(|file| now.get(&file.name) != Some(file));
        match changed.or_else(|| now.values().find(|file| known(&file.name).is_none())) {
            Some(file) => Err(store::Error::SourceChanged { path: file.path.clone() }.into()),
            None => Ok(()),
        }
    }

    /// Copies them into `to`, and returns the names of the copies: the same, but for those that are
    /// `moved`.
    ///
    /// # Errors
    /// [`SourceChanged`](crate::store::Error::SourceChanged);
    /// [`Io`](crate::store::Error::Io); [`Cancelled`](crate::checkpoint::Error::Cancelled).
    pub fn copy(
        &self,
        to: &Path,
        moved: &BTreeMap<String, String>,
        cancel: &Cancel,
    ) -> Result<Vec<String>> {
        let mut copies = Vec::new();
        for file in &self.files {
            let copy = moved.get(&file.name).unwrap_or(&file.name);
            let target = to.join(copy);
            let parent = target.parent().unwrap_or(to);
            fs::create_dir_all(parent).map_err(store::Error::io("create", parent))?;
            copy_file(file, &target, cancel)?;
            copies.push(copy.clone());
        }
        copies.sort();
        Ok(copies)
    }
}

/// What a look found.
#[derive(Default)]
struct Found {
    /// By name.
    files: BTreeMap<String, Sidecar>,
    warnings: Vec<String>,
}

fn look_into(from: &Path, folders: &[String], but: &[&str]) -> Result<Found> {
    let outer: Vec<&str> = but.iter().copied().chain(folders.iter().map(String::as_str)).collect();
    let mut all = Found::default();
    look_into_one(from, &outer, &mut all)?;
    folders.iter().try_for_each(|folder| look_into_one(&from.join(folder), but, &mut all))?;
    Ok(all)
}

fn look_into_one(dir: &Path, but: &[&str], found: &mut Found) -> Result<()> {
    let root = dir.canonicalize().map_err(store::Error::io("read", dir))?;
    let blobs = Snapshot::around(&root).map(|snapshot| snapshot.folder.join(BLOBS));
    Listing { homes: [Some(root), blobs], found }.folder(dir, "", but, DEPTH)
}

/// Sidecars being listed.
struct Listing<'a> {
    /// Where links may lead: the checkpoint, and the files of its cache if it is a snapshot of one.
    homes: [Option<PathBuf>; 2],
    found: &'a mut Found,
}

impl Listing<'_> {
    fn folder(&mut self, dir: &Path, prefix: &str, but: &[&str], depth: usize) -> Result<()> {
        let entries = fs::read_dir(dir).map_err(store::Error::io("read", dir))?;
        for entry in entries {
            let entry = entry.map_err(store::Error::io("read", dir))?;
            let os_name = entry.file_name();
            let name = os_name.to_string_lossy();
            if name.starts_with('.') || holds_weights(&name) {
                continue;
            }
            if but.contains(&&*name) {
                tracing::debug!(%name, "not copied: a file of this name is written");
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(store::Error::io("read", &path))?;
            if os_name.to_str().is_none() {
                self.left_out(&path, "its name is not UTF-8");
            } else if kind.is_dir() && depth > 0 {
                self.folder(&path, &format!("{prefix}{name}/"), &[], depth - 1)?;
            } else if kind.is_dir() {
                self.left_out(&path, "it lies too deep");
            } else if !kind.is_symlink() || self.leads_to_file(&path)? {
                let name = format!("{prefix}{name}");
                let stamp = Stamp::of(&look::check_file(&path)?);
                let link = fs::symlink_metadata(&path).map_err(store::Error::io("read", &path))?;
                let file = Sidecar { name: name.clone(), path, stamp, link: Stamp::of(&link) };
                self.found.files.entry(name).or_insert(file);
            }
        }
        Ok(())
    }

    /// Whether a link is to be taken for what it leads to.
    fn leads_to_file(&mut self, link: &Path) -> Result<bool> {
        if look::is_dir(link)? {
            self.left_out(link, "it is a link to a folder");
            return Ok(false);
        }
        let target = link.canonicalize().map_err(store::Error::io("read", link))?;
        if !self.homes.iter().flatten().any(|home| target.starts_with(home)) {
            let (link, target) = (link.display(), target.display());
            self.found.warnings.push(format!(
                "{link} is a link that leads out of the checkpoint: the output has the file that it \
                 leads to, {target}"
            ));
        }
        Ok(true)
    }

    fn left_out(&mut self, path: &Path, why: &str) {
        self.found.warnings.push(format!("{} is left out: {why}", path.display()));
    }
}

/// Copies a file with its permissions.
///
/// Not `fs::copy`: that cannot be stopped, and would make a copy that its owner cannot replace of
/// the read-only files of a hub cache.
fn copy_file(file: &Sidecar, target: &Path, cancel: &Cancel) -> Result<()> {
    let source = &file.path;
    let mut reader = fs::File::open(source).map_err(store::Error::io("read", source))?;
    let metadata = reader.metadata().map_err(store::Error::io("read", source))?;
    let changed = || Err(store::Error::SourceChanged { path: source.clone() }.into());
    if Stamp::of(&metadata) != file.stamp {
        return changed();
    }
    let mut writer = create_like(&metadata, target).map_err(store::Error::io("create", target))?;
    let mut buffer = vec![0; 1 << 20];
    let mut copied = 0;
    loop {
        cancel.check()?;
        let len = match reader.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(store::Error::io("read", source))?,
        };
        if len == 0 {
            // Some network file systems end early.
            return if copied == metadata.len() { Ok(close(writer, target)?) } else { changed() };
        }
        writer.write_all(&buffer[..len]).map_err(store::Error::io("write", target))?;
        copied += len as u64;
    }
}

/// Makes a file that those may read, write and execute who may do so with the original, as far as
/// the umask allows, which is what `cp` does; its owner may read and write it in any case. No file of
/// ours runs as its owner whoever starts it.
fn create_like(original: &fs::Metadata, target: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(original.permissions().mode() & 0o777 | 0o600);
    }
    #[cfg(not(unix))]
    let _ = original;
    options.open(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_weights_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("original/onnx")).unwrap();
        for name in [
            "config.json",
            "tokenizer.model",
            "weird name.txt",
            "model.yaml",
            "model.safetensors",
            ".gitattributes",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "original/params.json",
            "original/consolidated.00.pth",
            "original/onnx/model.onnx",
        ] {
            fs::write(from.join(name), name).unwrap();
        }
        let moved = [("tokenizer.model".to_string(), "t/tokenizer.model".to_string())];
        let but = ["model.yaml"];
        let sidecars = Sidecars::list(&from, &but).unwrap();
        let copied = sidecars.copy(&to, &moved.into(), &Cancel::default()).unwrap();
        let want = ["config.json", "original/params.json", "t/tokenizer.model", "weird name.txt"];
        assert_eq!(copied, want);
        for name in want {
            let original = name.strip_prefix("t/").unwrap_or(name);
            assert_eq!(fs::read_to_string(to.join(name)).unwrap(), original);
        }
        assert!(!to.join("original/onnx").exists());
    }
    #[cfg(unix)]
    #[test]
    fn links_out_of_the_checkpoint_are_announced() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("models--o--n");
        let snapshot = folder.join("snapshots/abc");
        for made in [&snapshot, &folder.join("blobs"), &dir.path().join("elsewhere")] {
            fs::create_dir_all(made).unwrap();
        }
        for file in ["models--o--n/blobs/0", "elsewhere/key", "models--o--n/snapshots/abc/a"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let list = || Sidecars::list(&snapshot, &[]);
        for (target, told) in [
            ("../../blobs/0", None),
            ("a", None),
            ("../../../elsewhere/key", Some("elsewhere/key")),
            ("../../../elsewhere", Some("b is left out: it is a link to a folder")),
        ] {
            let link = snapshot.join("b");
            symlink(target, &link).unwrap();
            let listed = list().unwrap();
            let (names, warnings) = (listed.names(), &listed.warnings);
            let is_taken = target != "../../../elsewhere";
            assert_eq!(names, if is_taken { &["a", "b"][..] } else { &["a"] }, "{target}");
            assert_eq!(warnings.len(), usize::from(told.is_some()), "{target}: {warnings:?}");
            if let (Some(told), Some(warning)) = (told, warnings.first()) {
                assert!(warning.contains(told) && warning.contains("abc/b is "), "{warning}");
            }
            fs::remove_file(link).unwrap();
        }
        for (target, told) in [
            ("../../blobs/1", "abc/b: it is a link to ../../blobs/1, where nothing is; the hub's"),
            ("/dev/null", "abc/b is a device, where a file should be"),
        ] {
            symlink(target, snapshot.join("b")).unwrap();
            let error = list().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            fs::remove_file(snapshot.join("b")).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn copies_have_the_permissions_of_their_originals() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        let modes =
            [(0o600, 0o600), (0o444, 0o644), (0o755, 0o755), (0o400, 0o600), (0o6750, 0o750)];
        for (mode, _) in modes {
            let file = from.join(format!("{mode:o}"));
            fs::write(&file, "").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let sidecars = Sidecars::list(&from, &[]).unwrap();
        sidecars.copy(&to, &BTreeMap::new(), &Cancel::default()).unwrap();
        for (mode, want) in modes {
            let copy = to.join(format!("{mode:o}"));
            let found = fs::metadata(copy).unwrap().permissions().mode() & 0o7777;
            // What the umask takes away, it takes away here too.
            assert_eq!(found & want, found, "{mode:o}: {found:o}");
            assert_eq!(found & 0o700, want & 0o700, "{mode:o}: {found:o}");
        }
    }
}

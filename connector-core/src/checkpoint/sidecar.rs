use crate::store::close;
use crate::{Cancel, Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

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

/// The files of a checkpoint that hold no weights: tokenizer files whatever their names, the
/// configs, templates, the licence. Links to files are followed, hidden files and links to folders
/// are not, nor are the files called as in `but`. Sorted, with `/` between folder and name.
pub(crate) fn sidecars(from: &Path, but: &[&str]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    list_folder(from, "", but, DEPTH, &mut names)?;
    names.sort();
    Ok(names)
}

/// Copies every [sidecar](sidecars), and returns the names of the copies: the same, but for those
/// that are `moved`.
pub(crate) fn copy_sidecars(
    from: &Path,
    to: &Path,
    but: &[&str],
    moved: &BTreeMap<String, String>,
    cancel: &Cancel,
) -> Result<Vec<String>> {
    let mut copies = Vec::new();
    for name in sidecars(from, but)? {
        let copy = moved.get(&name).unwrap_or(&name);
        let target = to.join(copy);
        let parent = target.parent().unwrap_or(to);
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        copy_file(&from.join(&name), &target, cancel)?;
        copies.push(copy.clone());
    }
    copies.sort();
    Ok(copies)
}

fn list_folder(
    dir: &Path,
    prefix: &str,
    but: &[&str],
    depth: usize,
    names: &mut Vec<String>,
) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read", dir))?;
        let os_name = entry.file_name();
        let name = os_name.to_string_lossy();
        if name.starts_with('.') || holds_weights(&name) {
            continue;
        }
        if but.contains(&&*name) {
            tracing::debug!(%name, "not copied: a file of this name is written");
            continue;
        }
        let Some(name) = os_name.to_str() else {
            tracing::warn!(file = ?os_name, "left out: its name is not UTF-8");
            continue;
        };
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        if kind.is_dir() && depth > 0 {
            list_folder(&path, &format!("{prefix}{name}/"), &[], depth - 1, names)?;
        } else if path.is_file() {
            names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// Not `fs::copy`: that would carry the source's mode, and a hub cache's files are read-only.
fn copy_file(source: &Path, target: &Path, cancel: &Cancel) -> Result<()> {
    let mut reader = fs::File::open(source).map_err(Error::io("read", source))?;
    let mut writer = fs::File::create_new(target).map_err(Error::io("create", target))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        cancel.check()?;
        let len = reader.read(&mut buffer).map_err(Error::io("read", source))?;
        if len == 0 {
            return close(writer, target);
        }
        writer.write_all(&buffer[..len]).map_err(Error::io("write", target))?;
    }
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
        let copied = copy_sidecars(&from, &to, &but, &moved.into(), &Cancel::default()).unwrap();
        let want = ["config.json", "original/params.json", "t/tokenizer.model", "weird name.txt"];
        assert_eq!(copied, want);
        for name in want {
            let original = name.strip_prefix("t/").unwrap_or(name);
            assert_eq!(fs::read_to_string(to.join(name)).unwrap(), original);
        }
        assert!(!to.join("original/onnx").exists());
    }
}

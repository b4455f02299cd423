use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Everything below a directory: for each path the file's bytes and when it was last written.
/// Directories have no bytes and no time: whoever made a file and removed it again has changed
/// nothing.
pub type Tree = BTreeMap<String, Option<(Vec<u8>, SystemTime)>>;

/// What is below `dir`, hidden files too.
pub fn tree(dir: &Path) -> Tree {
    let mut all = Tree::new();
    walk(dir, "", &mut all);
    all
}

fn walk(dir: &Path, prefix: &str, all: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            walk(&path, &format!("{name}/"), all);
            all.insert(name, None);
        } else {
            let written = path.metadata().and_then(|m| m.modified()).expect("a time");
            all.insert(name, Some((fs::read(&path).expect("a file"), written)));
        }
    }
}

/// The bytes of everything below `dir`, whenever it was written; nothing if there is no such
/// directory.
pub fn contents(dir: &Path) -> Option<BTreeMap<String, Option<Vec<u8>>>> {
    let all = dir.exists().then(|| tree(dir))?.into_iter();
    Some(all.map(|(name, file)| (name, file.map(|(bytes, _)| bytes))).collect())
}

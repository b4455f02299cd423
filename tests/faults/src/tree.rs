//! What lies in a directory.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Everything below a directory, by names from it on.
pub type Tree = BTreeMap<String, Node>;

/// What has a name.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A file with these bytes.
    File(Rc<[u8]>),
    /// A symbolic link to there.
    Link(PathBuf),
}

/// What is below `dir`; nothing if there is no such directory. A file is itself the entry "".
pub fn tree(dir: &Path) -> io::Result<Tree> {
    let mut all = Tree::new();
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => walk(dir, "", &mut all)?,
        Ok(_) => drop(all.insert(String::new(), node(dir)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(all)
}

fn walk(dir: &Path, prefix: &str, all: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{prefix}{}", without_key(&name));
        let node = node(&path)?;
        if node == Node::Dir {
            walk(&path, &format!("{name}/"), all)?;
        }
        all.insert(name, node);
    }
    Ok(())
}

fn node(path: &Path) -> io::Result<Node> {
    let kind = fs::symlink_metadata(path)?.file_type();
    Ok(if kind.is_dir() {
        Node::Dir
    } else if kind.is_symlink() {
        Node::Link(fs::read_link(path)?)
    } else {
        Node::File(fs::read(path)?.into())
    })
}

/// A name without the key of a conversion in the cache, which depends on the inodes of its source
/// and so on the run.
pub fn without_key(name: &str) -> String {
    const DIGITS: usize = 16;
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut plain = String::new();
    let mut rest = name;
    while let Some(start) = rest.find(is_hex) {
        let run = rest[start..].find(|c| !is_hex(c)).unwrap_or(rest.len() - start);
        plain.push_str(&rest[..start]);
        plain.push_str(if run == DIGITS { "KEY" } else { &rest[start..start + run] });
        rest = &rest[start + run..];
    }
    plain + rest
}

/// Copies a directory with the times of its files, by which caches know them.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let new = to.join(path.file_name().unwrap_or_default());
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() {
            copy_tree(&path, &new)?;
        } else if found.is_symlink() {
            symlink(fs::read_link(&path)?, &new)?;
        } else {
            fs::copy(&path, &new)?;
            let times = FileTimes::new().set_modified(found.modified()?);
            File::options().write(true).open(&new)?.set_times(times)?;
        }
    }
    Ok(())
}

/// Makes what a tree says in the new directory `dir`.
pub fn write_tree(tree: &Tree, dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)?;
    // Directories come before what is in them.
    for (name, node) in tree {
        let path = dir.join(name);
        match node {
            Node::Dir => fs::create_dir(path)?,
            Node::File(bytes) => fs::write(path, bytes)?,
            Node::Link(to) => symlink(to, path)?,
        }
    }
    Ok(())
}

/// The names in which two trees differ, and how.
pub fn differences(before: &Tree, now: &Tree) -> Vec<String> {
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let mut all: Vec<String> = gone.map(|name| format!("{name} is gone")).collect();
    for (name, node) in now {
        match before.get(name) {
            None => all.push(format!("{name} is new")),
            Some(old) if old != node => all.push(format!("{name} has changed")),
            Some(_) => {}
        }
    }
    all
}

/// The part of a tree that is at `path` and below, with names from there on.
pub fn part(tree: &Tree, path: &str) -> Tree {
    let below = |name: &String| match name.strip_prefix(path)? {
        "" => Some(String::new()),
        rest => rest.strip_prefix('/').map(Into::into),
    };
    tree.iter().filter_map(|(name, node)| Some((below(name)?, node.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_left_out_of_names() {
        for (name, plain) in [
            ("0123456789abcdef", "KEY"),
            (".0123456789abcdef.connector-lock", ".KEY.connector-lock"),
            ("abcdef01-0123456789abcdef", "abcdef01-KEY"),
            ("0123456789abcdef0", "0123456789abcdef0"),
            ("config.json", "config.json"),
        ] {
            assert_eq!(without_key(name), plain);
        }
    }

    #[test]
    fn a_copy_is_equal_and_differences_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/c"), "c").unwrap();
        symlink("c", from.join("a/d")).unwrap();
        copy_tree(&from, &to).unwrap();
        let before = tree(&from).unwrap();
        assert!(before == tree(&to).unwrap());
        assert_eq!(part(&before, "a").into_keys().collect::<Vec<_>>(), ["", "b", "c", "d"]);
        fs::write(to.join("a/c"), "C").unwrap();
        fs::remove_dir(to.join("a/b")).unwrap();
        fs::write(to.join("e"), "").unwrap();
        let changed = tree(&to).unwrap();
        write_tree(&changed, &dir.path().join("again")).unwrap();
        assert!(tree(&dir.path().join("again")).unwrap() == changed);
        let now = differences(&before, &changed);
        assert_eq!(now, ["a/b is gone", "a/c has changed", "e is new"]);
        assert!(tree(&dir.path().join("none")).unwrap().is_empty());
    }
}

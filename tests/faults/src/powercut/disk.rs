//! A file system in memory, and the steps that change it.

use crate::tree::{Node, Tree};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// The number of a file or directory.
pub(super) type Inode = usize;

/// A name in a directory.
pub(super) type Place = (Inode, String);

/// The directory in which the commands run.
const ROOT: Inode = 0;

/// What an inode is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Dir(BTreeMap<String, Inode>),
    File(Rc<[u8]>),
    Link(PathBuf),
}

/// Files and directories.
#[derive(Clone)]
pub(super) struct Disk {
    nodes: BTreeMap<Inode, Content>,
}

/// A change of a file: bytes that became others, and its length afterwards.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub offset: usize,
    pub bytes: Vec<u8>,
    pub len: usize,
}

/// A step that changes the disk, or makes changes durable.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A new name for a node that is new, or that has others.
    Name { at: Place, node: Inode, content: Content },
    /// A name less.
    Remove { at: Place },
    /// Another name, or two that are exchanged.
    Rename { from: Place, to: Place, exchange: bool },
    /// Another content.
    Write { file: Inode, change: Change },
    /// Whatever was changed of this file or directory is on the disk.
    Sync { node: Inode },
}

impl Disk {
    /// The disk that holds a tree.
    pub fn new(tree: &Tree) -> Self {
        let mut disk = Disk { nodes: [(ROOT, Content::Dir(BTreeMap::new()))].into() };
        // Directories come before what is in them.
        for (name, node) in tree {
            let Some(at) = disk.place(Path::new(name)) else { continue };
            let content = match node {
                Node::Dir => Content::Dir(BTreeMap::new()),
                Node::File(bytes) => Content::File(bytes.clone()),
                Node::Link(to) => Content::Link(to.clone()),
            };
            let node = disk.unused();
            disk.apply(&Step::Name { at, node, content });
        }
        disk
    }

    /// A number that no node has had.
    pub fn unused(&self) -> Inode {
        self.nodes.last_key_value().map_or(ROOT, |(last, _)| last + 1)
    }

    /// What has this path.
    pub fn find(&self, path: &Path) -> Option<Inode> {
        path.components().try_fold(ROOT, |node, component| match (component, self.get(node)?) {
            (Component::Normal(name), Content::Dir(names)) => {
                names.get(&*name.to_string_lossy()).copied()
            }
            _ => None,
        })
    }

    /// The directory of a path, which must be there, and the name in it.
    pub fn place(&self, path: &Path) -> Option<Place> {
        let dir = self.find(path.parent()?)?;
        Some((dir, path.file_name()?.to_string_lossy().into_owned()))
    }

    /// What a node is.
    pub fn get(&self, node: Inode) -> Option<&Content> {
        self.nodes.get(&node)
    }

    fn names(&mut self, dir: Inode) -> Option<&mut BTreeMap<String, Inode>> {
        match self.nodes.get_mut(&dir)? {
            Content::Dir(names) => Some(names),
            _ => None,
        }
    }

    /// Makes a step. One for which something is missing changes nothing.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Name { at: (dir, name), node, content } => {
                self.nodes.entry(*node).or_insert_with(|| content.clone());
                if let Some(names) = self.names(*dir) {
                    names.insert(name.clone(), *node);
                }
            }
            Step::Remove { at: (dir, name) } => {
                self.names(*dir).and_then(|names| names.remove(name));
            }
            Step::Rename { from, to, exchange } => {
                let Some(moved) = self.names(from.0).and_then(|names| names.remove(&from.1)) else {
                    return;
                };
                let replaced = self.names(to.0).and_then(|names| names.insert(to.1.clone(), moved));
                if let (true, Some(replaced), Some(names)) =
                    (exchange, replaced, self.names(from.0))
                {
                    names.insert(from.1.clone(), replaced);
                }
            }
            Step::Write { file, change } => {
                if let Some(Content::File(bytes)) = self.nodes.get_mut(file) {
                    *bytes = change.of(bytes);
                }
            }
            Step::Sync { .. } => {}
        }
    }

    /// Sets what is in a file.
    pub fn set(&mut self, file: Inode, bytes: Rc<[u8]>) {
        self.nodes.insert(file, Content::File(bytes));
    }

    /// What can be reached on it.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        self.walk(ROOT, "", &mut tree);
        tree
    }

    /// The part of its tree that is at `path` and below.
    pub fn part(&self, path: &str) -> Tree {
        let mut tree = Tree::new();
        if let Some(node) = self.find(Path::new(path)) {
            tree.extend(self.node(node).map(|node| (String::new(), node)));
            self.walk(node, "", &mut tree);
        }
        tree
    }

    fn node(&self, node: Inode) -> Option<Node> {
        Some(match self.get(node)? {
            Content::Dir(_) => Node::Dir,
            Content::File(bytes) => Node::File(Rc::clone(bytes)),
            Content::Link(to) => Node::Link(to.clone()),
        })
    }

    fn walk(&self, dir: Inode, prefix: &str, tree: &mut Tree) {
        let Some(Content::Dir(names)) = self.get(dir) else { return };
        for (name, &inode) in names {
            let path = format!("{prefix}{name}");
            let Some(node) = self.node(inode) else { continue };
            if node == Node::Dir {
                self.walk(inode, &format!("{path}/"), tree);
            }
            tree.insert(path, node);
        }
    }
}

impl Change {
    /// What makes `old` to `new`; `None` if they are equal.
    pub fn between(old: &[u8], new: &[u8]) -> Option<Self> {
        if old == new {
            return None;
        }
        let same = |pair: &(&u8, &u8)| pair.0 == pair.1;
        let offset = old.iter().zip(new).take_while(same).count();
        // Of two lengths, all that is behind the shorter one is new.
        let tail = match old.len() == new.len() {
            true => old[offset..].iter().rev().zip(new.iter().rev()).take_while(same).count(),
            false => 0,
        };
        let end = new.len() - tail;
        Some(Change { offset, bytes: new[offset..end].to_vec(), len: new.len() })
    }

    /// What becomes of `old`.
    pub fn of(&self, old: &[u8]) -> Rc<[u8]> {
        let mut new = self.room(old);
        new[self.offset..][..self.bytes.len()].copy_from_slice(&self.bytes);
        new.into()
    }

    /// What becomes of `old` if the bytes are lost, and the length is not.
    pub fn zeros(&self, old: &[u8]) -> Rc<[u8]> {
        let mut new = self.room(old);
        new[self.offset..][..self.bytes.len()].fill(0);
        new.into()
    }

    fn room(&self, old: &[u8]) -> Vec<u8> {
        let mut new = old.to_vec();
        new.resize(self.len, 0);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Node {
        Node::File(text.as_bytes().into())
    }

    #[test]
    fn steps_do_what_the_system_does() {
        let tree: Tree = [("a", Node::Dir), ("a/x", file("x")), ("b", file("b"))]
            .map(|(name, node)| (name.to_string(), node))
            .into();
        let mut disk = Disk::new(&tree);
        assert!(disk.tree() == tree && disk.part("a") == crate::tree::part(&tree, "a"));
        let place = |disk: &Disk, path: &str| disk.place(Path::new(path)).unwrap();
        let (from, to) = (place(&disk, "b"), place(&disk, "a/x"));
        disk.apply(&Step::Rename { from: from.clone(), to: to.clone(), exchange: true });
        assert!(disk.tree()["a/x"] == file("b") && disk.tree()["b"] == file("x"));
        disk.apply(&Step::Rename { from, to: to.clone(), exchange: false });
        assert!(disk.tree()["a/x"] == file("x") && !disk.tree().contains_key("b"));
        disk.apply(&Step::Remove { at: to });
        assert_eq!(disk.tree().into_keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn changes_are_what_differs() {
        for (old, new) in [("", "abc"), ("abc", ""), ("abcd", "abXd"), ("ab", "abc"), ("abc", "xb")]
        {
            let change = Change::between(old.as_bytes(), new.as_bytes()).unwrap();
            assert_eq!(*change.of(old.as_bytes()), *new.as_bytes());
        }
        assert!(Change::between(b"a", b"a").is_none());
        assert_eq!(Change::between(b"abcd", b"abXd").unwrap().bytes, b"X");
    }
}

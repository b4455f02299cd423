//! Writes down what a command does to the disk.

use super::disk::{Change, Content, Disk, Step};
use crate::scene::{Key, Verdict, Watch};
use crate::trace::{Action, Call, Kind, Return};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The flag of `renameat2` by which two names are exchanged.
const EXCHANGE: u64 = 2;

/// What happened to the disk so far.
pub(super) struct Recorder {
    stage: PathBuf,
    /// The disk before.
    pub begin: Disk,
    /// The disk as programs see it now.
    pub now: Disk,
    /// What happened.
    pub steps: Vec<Step>,
    /// The call at which the process is killed once it has returned.
    kill: Option<Key>,
}

impl Recorder {
    /// Records what happens to `tree`, which lies at `stage`.
    pub fn new(stage: PathBuf, tree: &Tree) -> Self {
        let begin = Disk::new(tree);
        Recorder { stage, now: begin.clone(), begin, steps: Vec::new(), kill: None }
    }

    /// The process is killed after this call.
    pub fn kill_after(&mut self, key: &Key) {
        self.kill = Some(key.clone());
    }

    fn step(&mut self, step: Step) {
        self.now.apply(&step);
        self.steps.push(step);
    }

    /// Looks at a file whose content may have changed.
    fn look(&mut self, path: &Path) {
        let name = path.strip_prefix(&self.stage).unwrap_or(path);
        let Some(file) = self.now.find(name) else { return };
        let (Some(Content::File(old)), Ok(new)) = (self.now.get(file), fs::read(path)) else {
            return;
        };
        if let Some(change) = Change::between(old, &new) {
            self.step(Step::Write { file, change });
        }
    }

    /// Looks at a name that may be new.
    fn name(&mut self, path: &Path, existing: Option<usize>) {
        let name = path.strip_prefix(&self.stage).unwrap_or(path);
        if self.now.find(name).is_some() {
            return;
        }
        let (Some(at), Ok(found)) = (self.now.place(name), fs::symlink_metadata(path)) else {
            return;
        };
        let content = if found.is_dir() {
            Content::Dir(BTreeMap::new())
        } else if found.is_symlink() {
            Content::Link(fs::read_link(path).unwrap_or_default())
        } else {
            // What is written into it comes after.
            Content::File([].into())
        };
        let node = existing.unwrap_or_else(|| self.now.unused());
        self.step(Step::Name { at, node, content });
    }
}

impl Watch for Recorder {
    fn call(&mut self, call: &Call, key: &Key) -> Verdict {
        if self.kill.as_ref() == Some(key) {
            self.kill = None;
            return Verdict::KillAfter;
        }
        let reads = [Kind::Read, Kind::List, Kind::Look, Kind::Lock, Kind::Map, Kind::Close];
        let is_read = reads.contains(&call.kind()) || call.kind() == Kind::Open && !key.creates;
        Verdict::Act(if is_read { Action::Make } else { Action::Observe })
    }

    fn returned(&mut self, call: &Call, returned: &Return) {
        if returned.result.is_err() {
            return;
        }
        let name = |path: &PathBuf| path.strip_prefix(&self.stage).unwrap_or(path).to_path_buf();
        let names: Vec<PathBuf> = call.paths.iter().map(name).collect();
        match (call.kind(), call.paths.as_slice(), names.as_slice()) {
            (Kind::Open, [path], _) => {
                self.name(path, None);
                self.look(path);
            }
            (Kind::Write | Kind::Resize | Kind::Advise, [path], _) | (Kind::Copy, [_, path], _) => {
                self.look(path);
            }
            (Kind::Make, [path], _) => self.name(path, None),
            (Kind::Link, [_, path], [old, _]) => {
                let node = self.now.find(old);
                self.name(path, node);
            }
            (Kind::Remove, _, [name]) => {
                if let Some(at) = self.now.place(name) {
                    self.step(Step::Remove { at });
                }
            }
            (Kind::Rename, _, [from, to]) => {
                let exchange = call.syscall.name == "renameat2" && call.args[4] & EXCHANGE != 0;
                if let (Some(from), Some(to)) = (self.now.place(from), self.now.place(to)) {
                    self.step(Step::Rename { from, to, exchange });
                }
            }
            (Kind::Sync, _, [name]) => {
                if let Some(node) = self.now.find(name) {
                    self.step(Step::Sync { node });
                }
            }
            _ => {}
        }
    }
}

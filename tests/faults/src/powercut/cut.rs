//! What may be on the disk after a power cut.
//!
//! The disk is assumed to promise no more than this. What a file held when it was synced is there.
//! Of what was written since, each block may be there, or what was there before, or zeros; and the
//! length may be the new one or not. What happened to the names of a directory before it was synced
//! has happened. Of what happened since, each step may have or not, in any combination in which no
//! step is there without those that it builds upon: those before it on the same name, and those that
//! made its directory. That a file or a directory was synced says nothing of its own name. A rename
//! happens whole or not at all.
//!
//! Journals keep more order than that; what holds here holds with them.

use super::disk::{Change, Content, Disk, Inode, Place, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The unit in which bytes reach the disk.
const BLOCK: usize = 4096;

/// Numbers that look like chance and are the same each time: splitmix64.
pub(super) struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// What becomes of bytes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    /// They are lost.
    Lost,
    /// The length is there, and zeros.
    Zeros,
    /// They are there.
    Kept,
    /// Each block as chance will have it.
    Any,
}

/// A power cut after some of the steps.
pub(super) struct Cut<'a> {
    begin: &'a Disk,
    steps: &'a [Step],
    /// Steps on names that are on the disk for sure.
    sure: BTreeSet<usize>,
    /// Those that may be.
    pub pending: Vec<usize>,
    /// For each step those that it builds upon.
    builds_on: Vec<Base>,
    /// The files that were written to.
    written: BTreeMap<Inode, Written<'a>>,
}

/// A file that was written to.
struct Written<'a> {
    /// What was synced.
    lost: Rc<[u8]>,
    /// The same, with the length that it has now.
    zeros: Rc<[u8]>,
    /// What is in it now.
    kept: Rc<[u8]>,
    /// What was changed since it was synced.
    changes: Vec<&'a Change>,
}

impl<'a> Cut<'a> {
    /// A power cut after `steps`, which began with `begin`.
    pub fn new(begin: &'a Disk, steps: &'a [Step]) -> Self {
        let builds_on = builds_on(steps);
        let mut synced: BTreeSet<Inode> = BTreeSet::new();
        let mut sure = BTreeSet::new();
        for (number, step) in steps.iter().enumerate().rev() {
            match step {
                Step::Sync { node } => drop(synced.insert(*node)),
                Step::Write { .. } => {}
                step => {
                    if step.places().iter().all(|(dir, _)| synced.contains(dir)) {
                        sure.insert(number);
                    }
                    // What is sure is so with what the same names had before; but a directory
                    // whose content is on the disk may have no name there.
                    if sure.contains(&number) {
                        sure.extend(&builds_on[number].names);
                    }
                }
            }
        }
        let is_pending = |number: &usize| steps[*number].is_of_names() && !sure.contains(number);
        let pending = (0..steps.len()).filter(is_pending).collect();
        let written = written(begin, steps);
        Cut { begin, steps, sure, pending, builds_on, written }
    }

    /// What may become of bytes that were not synced.
    pub fn data(&self) -> &'static [Data] {
        let is_pending = self.written.values().any(|file| !file.changes.is_empty());
        if is_pending { &[Data::Lost, Data::Zeros, Data::Kept, Data::Any] } else { &[Data::Kept] }
    }

    /// The disk, if of the pending steps those happened that `wanted` says, as far as they can.
    pub fn disk(&self, wanted: impl Fn(usize) -> bool, data: Data, chance: &mut Chance) -> Disk {
        let mut disk = self.begin.clone();
        let mut happened = BTreeSet::new();
        for (number, step) in self.steps.iter().enumerate() {
            let can = || self.builds_on[number].all().all(|earlier| happened.contains(earlier));
            if step.is_of_names() && (self.sure.contains(&number) || wanted(number) && can()) {
                happened.insert(number);
                disk.apply(step);
            }
        }
        for (&file, written) in &self.written {
            // A file whose name is not there has no content that matters.
            if disk.get(file).is_some() {
                let bytes = match data {
                    Data::Lost => Rc::clone(&written.lost),
                    Data::Zeros => Rc::clone(&written.zeros),
                    Data::Kept => Rc::clone(&written.kept),
                    Data::Any => written.any(chance),
                };
                disk.set(file, bytes);
            }
        }
        disk
    }
}

impl Written<'_> {
    /// Some of the blocks that were written since.
    fn any(&self, chance: &mut Chance) -> Rc<[u8]> {
        let mut bytes = self.lost.to_vec();
        for change in &self.changes {
            let new = change.of(&bytes);
            if chance.below(2) == 0 {
                bytes.resize(new.len(), 0);
            }
            for (old, new) in bytes.chunks_mut(BLOCK).zip(new.chunks(BLOCK)) {
                let both = old.len().min(new.len());
                match chance.below(3) {
                    0 => old[..both].copy_from_slice(&new[..both]),
                    1 if old[..both] != new[..both] => old.fill(0),
                    _ => {}
                }
            }
        }
        bytes.into()
    }
}

/// The files that steps write to.
fn written<'a>(begin: &Disk, steps: &'a [Step]) -> BTreeMap<Inode, Written<'a>> {
    let mut all: BTreeMap<Inode, Written<'_>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Write { file, change } => {
                let written = all.entry(*file).or_insert_with(|| {
                    let old = match begin.get(*file) {
                        Some(Content::File(bytes)) => Rc::clone(bytes),
                        _ => [].into(),
                    };
                    Written { lost: old.clone(), zeros: old.clone(), kept: old, changes: vec![] }
                });
                written.zeros = change.zeros(&written.zeros);
                written.kept = change.of(&written.kept);
                written.changes.push(change);
            }
            Step::Sync { node } => {
                if let Some(file) = all.get_mut(node) {
                    (file.lost, file.zeros) = (file.kept.clone(), file.kept.clone());
                    file.changes.clear();
                }
            }
            _ => {}
        }
    }
    all
}

impl Step {
    /// Whether it is one on names.
    fn is_of_names(&self) -> bool {
        !self.places().is_empty()
    }

    /// The names that it changes.
    fn places(&self) -> Vec<&Place> {
        match self {
            Step::Name { at, .. } | Step::Remove { at } => vec![at],
            Step::Rename { from, to, .. } => vec![from, to],
            Step::Write { .. } | Step::Sync { .. } => vec![],
        }
    }
}

/// The earlier steps without which one cannot have happened.
struct Base {
    /// The last ones on the same names.
    names: Vec<usize>,
    /// Those that made the directories.
    dirs: Vec<usize>,
}

impl Base {
    fn all(&self) -> impl Iterator<Item = &usize> {
        self.names.iter().chain(&self.dirs)
    }
}

/// For each step what it builds upon.
fn builds_on(steps: &[Step]) -> Vec<Base> {
    let mut last: BTreeMap<&Place, usize> = BTreeMap::new();
    let mut made: BTreeMap<Inode, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let places = step.places();
        all.push(Base {
            names: places.iter().filter_map(|place| last.get(*place).copied()).collect(),
            dirs: places.iter().filter_map(|(dir, _)| made.get(dir).copied()).collect(),
        });
        last.extend(places.into_iter().map(|place| (place, number)));
        if let Step::Name { node, .. } = step {
            made.entry(*node).or_insert(number);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Node, Tree};
    use std::path::Path;

    /// Steps on a disk, written as a shell would: `write new`, `sync new`, `sync .`, `mv new old`.
    fn steps(begin: &Disk, lines: &[&str]) -> Vec<Step> {
        let mut disk = begin.clone();
        let mut steps = Vec::new();
        let mut add = |disk: &mut Disk, step: Step| {
            disk.apply(&step);
            steps.push(step);
        };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let path = Path::new(words[1].trim_start_matches('.'));
            match words[0] {
                "write" => {
                    if disk.find(path).is_none() {
                        let (at, node) = (disk.place(path).unwrap(), disk.unused());
                        let content = Content::File([].into());
                        add(&mut disk, Step::Name { at, node, content });
                    }
                    let file = disk.find(path).unwrap();
                    let change = Change { offset: 0, bytes: b"new".to_vec(), len: 3 };
                    add(&mut disk, Step::Write { file, change });
                }
                "sync" => {
                    let node = disk.find(path).unwrap();
                    add(&mut disk, Step::Sync { node });
                }
                _ => {
                    let (from, to) = (disk.place(path), disk.place(Path::new(words[2])));
                    let (from, to) = (from.unwrap(), to.unwrap());
                    add(&mut disk, Step::Rename { from, to, exchange: false });
                }
            }
        }
        steps
    }

    /// Everything that may be in `old`, which held `old`, after these steps.
    fn outcomes(lines: &[&str]) -> BTreeSet<String> {
        let tree: Tree = [("old".into(), Node::File(b"old"[..].into()))].into();
        let begin = Disk::new(&tree);
        let steps = steps(&begin, lines);
        let cut = Cut::new(&begin, &steps);
        let mut chance = Chance(1);
        let mut seen = BTreeSet::new();
        for subset in 0..1_usize << cut.pending.len() {
            let at = |step| cut.pending.iter().position(|&pending| pending == step).unwrap();
            for &data in cut.data() {
                let disk = cut.disk(|step| subset >> at(step) & 1 == 1, data, &mut chance);
                let Some(Node::File(bytes)) = disk.tree().remove("old") else { continue };
                seen.insert(String::from_utf8(bytes.to_vec()).unwrap());
            }
        }
        seen
    }

    #[test]
    fn what_is_synced_is_there_and_what_is_not_may_be() {
        let set = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        for (lines, want) in [
            (&["write new", "sync new", "mv new old", "sync ."][..], &["new"][..]),
            (&["write new", "sync new", "mv new old"], &["new", "old"]),
            // The rename is on the disk, and nothing of what it renamed.
            (&["write new", "mv new old", "sync ."], &["", "\0\0\0", "new"]),
            (&["write old"], &["\0\0\0", "new", "old"]),
            (&["write old", "sync old"], &["new"]),
        ] {
            assert_eq!(outcomes(lines), set(want), "{lines:?}");
        }
    }
}

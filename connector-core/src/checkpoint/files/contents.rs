//! A set of files, read: their tensors, and what contradicts what.

use super::index::Index;
use super::{FileSet, OpenError, OpenFile, Problem};
use crate::parallel;
use crate::store::{FileId, TensorInfo};
use std::collections::{HashMap, HashSet};

/// How many files are read at once: a file server answers several questions in the time of one.
const AT_ONCE: usize = 4;

/// What was read of a set of files. As long as there are problems, the tensors are not the whole
/// checkpoint.
pub(in crate::checkpoint) struct ReadSet<E> {
    pub files: Vec<OpenFile>,
    pub tensors: Vec<TensorInfo>,
    pub problems: Vec<Problem<E>>,
}

/// Opens every file of `set`, several at once, and has `read` read what it says of its tensors, or all
/// that is wrong with it; then has `tell` tell them, given that and the file's number, one file after
/// the other. Of tensors with one name the first is taken.
///
/// # Errors
/// If the system refuses; all else is a problem.
pub(in crate::checkpoint) fn read_set<T: Send, E: Send>(
    set: FileSet,
    read: impl Fn(&OpenFile) -> Result<Result<T, Vec<E>>, OpenError> + Sync,
    mut tell: impl FnMut(T, FileId) -> Result<Vec<TensorInfo>, Vec<E>>,
) -> Result<ReadSet<E>, OpenError> {
    let FileSet { shards, index, refused, ambiguous } = set;
    let (mut files, mut tensors, mut problems) = (Vec::new(), Vec::<TensorInfo>::new(), Vec::new());
    let mut contents = Contents::default();
    if let Some(single) = ambiguous {
        problems.push(Problem::TwoModels { single });
    }
    for shard in refused {
        contents.unread.insert(shard.clone());
        problems.push(Problem::ShardName { shard });
    }
    let malformed = |wrong: Vec<E>| wrong.into_iter().map(Problem::Malformed).collect();
    let opened = parallel::map(AT_ONCE, shards.len(), |number| {
        Ok(match shards[number].open()? {
            Ok(file) => read(&file)?.map(|said| (file, said)).map_err(malformed),
            Err(problem) => Err(vec![problem]),
        })
    });
    for (shard, opened) in shards.into_iter().zip(opened) {
        let told = opened?.and_then(|(file, said)| match tell(said, files.len()) {
            Ok(found) => Ok((file, found)),
            Err(wrong) => Err(malformed(wrong)),
        });
        match told {
            Ok((file, found)) => {
                for tensor in found {
                    let homes = contents.homes.entry(tensor.name.clone()).or_default();
                    homes.push(files.len());
                    if homes.len() == 1 {
                        tensors.push(tensor);
                    }
                }
                contents.names.push(shard.name);
                files.push(file);
            }
            Err(found) => {
                contents.unread.insert(shard.name);
                problems.extend(found);
            }
        }
    }
    contents.find_duplicates(&tensors, &mut problems);
    if let Some(index) = index {
        contents.compare(index, &tensors, &mut problems);
    }
    Ok(ReadSet { files, tensors, problems })
}

/// What lies where, to find what contradicts what.
#[derive(Default)]
struct Contents {
    /// The names of the files that could be read.
    names: Vec<String>,
    /// The names of those that could not: one problem each, not one per tensor.
    unread: HashSet<String>,
    /// The files of each tensor.
    homes: HashMap<String, Vec<FileId>>,
}

impl Contents {
    fn find_duplicates<E>(&self, tensors: &[TensorInfo], problems: &mut Vec<Problem<E>>) {
        for TensorInfo { name, .. } in tensors {
            if let Some(homes) = self.homes.get(name).filter(|homes| homes.len() > 1) {
                let shards = homes.iter().map(|&id| self.names[id].clone()).collect();
                problems.push(Problem::DuplicateTensor { tensor: name.clone(), shards });
            }
        }
    }

    fn compare<E>(&self, index: Index, tensors: &[TensorInfo], problems: &mut Vec<Problem<E>>) {
        let listed = index.weight_map.map;
        for TensorInfo { name, .. } in tensors {
            if !listed.contains_key(name) {
                let shard = self.names[self.homes[name][0]].clone();
                problems.push(Problem::NotListed { tensor: name.clone(), shard });
            }
        }
        for tensor in index.weight_map.repeated {
            problems.push(Problem::ListedTwice { tensor });
        }
        for (tensor, shard) in listed {
            let homes = self.homes.get(&tensor).map_or(&[][..], Vec::as_slice);
            if self.unread.contains(&shard) || homes.iter().any(|&id| self.names[id] == shard) {
                continue;
            }
            let found = homes.first().map(|&id| self.names[id].clone());
            problems.push(Problem::NotInShard { tensor, shard, found });
        }
    }
}

//! A set of files, read: their tensors, and what contradicts what.

use super::index::Index;
use super::{FileSet, OpenError, OpenFile, Problem};
use crate::store::{FileId, TensorInfo};
use std::collections::{HashMap, HashSet};

/// What was read of a set of files. As long as there are problems, the tensors are not the whole
/// checkpoint.
pub(in crate::checkpoint) struct ReadSet<E> {
    pub files: Vec<OpenFile>,
    pub tensors: Vec<TensorInfo>,
    pub problems: Vec<Problem<E>>,
}

/// Opens every file of `set` and has `read` tell its tensors, or all that is wrong with it, given the
/// file and its number. Of tensors with one name the first is taken.
///
/// # Errors
/// If the system refuses; all else is a problem.
pub(in crate::checkpoint) fn read_set<E>(
    set: FileSet,
    mut read: impl FnMut(&OpenFile, FileId) -> Result<Result<Vec<TensorInfo>, Vec<E>>, OpenError>,
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
    for shard in shards {
        let opened = match shard.open()? {
            Ok(file) => match read(&file, files.len())? {
                Ok(found) => Ok((file, found)),
                Err(wrong) => Err(wrong.into_iter().map(Problem::Malformed).collect()),
            },
            Err(problem) => Err(vec![problem]),
        };
        match opened {
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

//! A set of files, read: their tensors, and what contradicts what.

use super::index::{Index, WeightMap};
use super::{FileSet, OpenError, OpenFile, Problem};
use crate::base::parallel;
use crate::checkpoint::safetensors::most_tensors;
use crate::store::{FileId, TensorInfo};
use foldhash::{HashMap, HashMapExt};
use std::collections::{BTreeMap, HashSet};

/// How many files are read at once: a file server answers several questions in the time of one.
const AT_ONCE: usize = 4;

/// How many problems of one kind are listed.
const LISTED: usize = 10_000;

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
    // What an index lists is as a rule what there is; vectors that grow take twice as much.
    let listed = index.as_ref().map_or(0, |index| index.weight_map.tensors.len());
    let mut tensors = Vec::<TensorInfo>::with_capacity(listed);
    let (mut files, mut problems, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut contents = Contents { homes: Vec::with_capacity(listed), ..Contents::default() };
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
                contents.homes.extend(found.iter().map(|_| files.len()));
                tensors.extend(found);
                contents.names.push(shard.name);
                bytes += file.len;
                files.push(file);
                if tensors.len() as u64 > most_tensors(bytes) {
                    let problem = Problem::TooManyTensors { tensors: tensors.len(), bytes };
                    return Ok(ReadSet { files, tensors: Vec::new(), problems: vec![problem] });
                }
            }
            Err(found) => {
                contents.unread.insert(shard.name);
                problems.extend(found);
            }
        }
    }
    let repeated = contents.check(index, &tensors, &mut problems);
    if !repeated.is_empty() {
        let mut number = 0..;
        tensors.retain(|_| number.next().is_some_and(|number| !repeated.contains(&number)));
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
    /// The file of each tensor.
    homes: Vec<FileId>,
}

/// The tensors by their names.
struct Names<'a> {
    /// The first of each name.
    first: HashMap<&'a str, usize>,
    /// The others, by that one.
    others: BTreeMap<usize, Vec<usize>>,
}

impl Contents {
    /// Adds what contradicts what to `problems`. Returns the tensors whose names others have before
    /// them.
    fn check<E>(
        &self,
        index: Option<Index>,
        tensors: &[TensorInfo],
        problems: &mut Vec<Problem<E>>,
    ) -> HashSet<usize> {
        let first = HashMap::with_capacity(tensors.len());
        let mut names = Names { first, others: BTreeMap::new() };
        for (number, tensor) in tensors.iter().enumerate() {
            let first = *names.first.entry(&tensor.name).or_insert(number);
            if first != number {
                names.others.entry(first).or_default().push(number);
            }
        }
        for first in names.others.keys() {
            let shards = names.all(*first).map(|tensor| self.home(tensor).into()).collect();
            let tensor = tensors[*first].name.clone();
            problems.push(Problem::DuplicateTensor { tensor, shards });
        }
        if let Some(index) = index {
            self.compare(index.weight_map, tensors, &names, problems);
        }
        names.others.into_values().flatten().collect()
    }

    /// The name of the file of a tensor.
    fn home(&self, tensor: usize) -> &str {
        &self.names[self.homes[tensor]]
    }

    fn compare<E>(
        &self,
        listed: WeightMap,
        tensors: &[TensorInfo],
        names: &Names<'_>,
        problems: &mut Vec<Problem<E>>,
    ) {
        let WeightMap { shards, tensors: listed } = listed;
        let mut is_listed = vec![false; tensors.len()];
        // Entries of tensors that no file has; names that came before; entries of another file.
        let (mut unknown, mut repeated, mut misplaced) = (Vec::new(), Vec::new(), Vec::new());
        for (tensor, shard) in listed {
            let Some(&first) = names.first.get(tensor.as_str()) else {
                unknown.push((tensor, shard));
                continue;
            };
            if std::mem::replace(&mut is_listed[first], true) {
                repeated.push(tensor);
            } else if !names.all(first).any(|tensor| self.home(tensor) == shards[shard]) {
                misplaced.push((tensor, shard, Some(first)));
            }
        }
        // Stable, so that of equal names the first stays the first.
        unknown.sort_by(|(a, _), (b, _)| a.cmp(b));
        unknown.dedup_by(|(next, _), (first, _)| {
            let repeats = next == first;
            repeated.extend(repeats.then(|| std::mem::take(next)));
            repeats
        });
        misplaced.extend(unknown.into_iter().map(|(tensor, shard)| (tensor, shard, None)));
        misplaced.retain(|(_, shard, _)| !self.unread.contains(&shards[*shard]));
        misplaced.sort();
        repeated.sort();
        let is_first = |number: &usize| names.first[tensors[*number].name.as_str()] == *number;
        let unlisted = (0..tensors.len()).filter(|number| !is_listed[*number] && is_first(number));
        list(problems, unlisted, |number| {
            let (tensor, shard) = (tensors[number].name.clone(), self.home(number).into());
            Problem::NotListed { tensor, shard }
        });
        list(problems, repeated, |tensor| Problem::ListedTwice { tensor });
        list(problems, misplaced, |(tensor, shard, found)| Problem::NotInShard {
            tensor,
            shard: shards[shard].clone(),
            found: found.map(|found| self.home(found).into()),
        });
    }
}

/// Adds problems of one kind, each of one of `items`; of many the first, and how many more there are.
fn list<T, E>(
    problems: &mut Vec<Problem<E>>,
    items: impl IntoIterator<Item = T>,
    problem: impl FnMut(T) -> Problem<E>,
) {
    let mut items = items.into_iter();
    problems.extend(items.by_ref().take(LISTED).map(problem));
    let count = items.count();
    problems.extend((count > 0).then_some(Problem::More { count }));
}

impl Names<'_> {
    /// The tensor `first` and the others of its name.
    fn all(&self, first: usize) -> impl Iterator<Item = usize> {
        let others = self.others.get(&first).into_iter().flatten().copied();
        std::iter::once(first).chain(others)
    }
}

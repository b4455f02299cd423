//! A checkpoint of safetensors files as a [`Source`].

use super::index::Index;
use super::shards::ShardSet;
use super::{Header, HeaderError, HeaderTensor, OpenError, Problem, header};
use crate::store::positioned::read_exact_at;
use crate::store::{FileId, Source, TensorInfo};
use crate::{Error, parallel};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many headers are read at once.
const AT_ONCE: usize = 4;

/// A safetensors checkpoint: one file, or shards.
///
/// Opening reads every header and keeps every file open. What is wrong with the set does not stop
/// it: [`problems`](Reader::problems) has all of it. As long as there are any, the tensors are not
/// the whole checkpoint.
#[derive(Debug)]
pub struct Reader {
    files: Vec<OpenFile>,
    tensors: Vec<TensorInfo>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    len: u64,
    /// When it was last written to, if the system says.
    modified: Option<SystemTime>,
}

impl Reader {
    /// Opens a `.safetensors` file, or a directory: the shards that its
    /// `model.safetensors.index.json` names; without one its `model.safetensors`; without that its
    /// `model-00001-of-00002.safetensors` and so on; without those all its `*.safetensors`. Links
    /// are followed.
    ///
    /// # Errors
    /// If there is no such checkpoint, its index is not readable, or the system refuses to read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let ShardSet { shards, index, refused, ambiguous } = ShardSet::find(path.as_ref())?;
        let mut reader = Reader { files: Vec::new(), tensors: Vec::new(), problems: Vec::new() };
        let mut contents = Contents::default();
        if ambiguous {
            reader.problems.push(Problem::TwoModels);
        }
        for shard in refused {
            contents.unread.insert(shard.clone());
            reader.problems.push(Problem::ShardName { shard });
        }
        // A file server answers several questions in the time of one.
        let opened = parallel::map(AT_ONCE, shards.len(), |number| {
            let shard = &shards[number];
            match shard.open()? {
                Ok((file, len)) => read_shard(file, shard.path.clone(), len),
                Err(problem) => Ok(Err(problem)),
            }
        });
        for (shard, opened) in shards.into_iter().zip(opened) {
            match opened? {
                Ok((file, header)) => {
                    let id = reader.files.len();
                    reader.files.push(file);
                    contents.names.push(shard.name);
                    reader.add(id, header, &mut contents);
                }
                Err(problem) => {
                    contents.unread.insert(shard.name);
                    reader.problems.push(problem);
                }
            }
        }
        contents.find_duplicates(&reader.tensors, &mut reader.problems);
        if let Some(index) = index {
            contents.compare(index, &reader.tensors, &mut reader.problems);
        }
        Ok(reader)
    }

    /// Everything that is wrong with the set of files; empty if all is well.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Takes over a file's tensors; of those with one name, the first.
    fn add(&mut self, id: FileId, header: Header, contents: &mut Contents) {
        for HeaderTensor { name, dtype, shape, bytes } in header.tensors {
            let homes = contents.homes.entry(name.clone()).or_default();
            homes.push(id);
            if homes.len() == 1 {
                self.tensors.push(TensorInfo::whole(name, shape, dtype, id, bytes.start));
            }
        }
    }
}

fn read_shard(
    file: File,
    path: PathBuf,
    len: u64,
) -> Result<Result<(OpenFile, Header), Problem>, OpenError> {
    match header::read(&file, len).map_err(OpenError::io("read", &path))? {
        Ok(header) => {
            let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
            Ok(Ok((OpenFile { file, path, len, modified }, header)))
        }
        Err(kind) => Ok(Err(Problem::Malformed(HeaderError { file: path, kind }))),
    }
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
    fn find_duplicates(&self, tensors: &[TensorInfo], problems: &mut Vec<Problem>) {
        for TensorInfo { name, .. } in tensors {
            if let Some(homes) = self.homes.get(name).filter(|homes| homes.len() > 1) {
                let shards = homes.iter().map(|&id| self.names[id].clone()).collect();
                problems.push(Problem::DuplicateTensor { tensor: name.clone(), shards });
            }
        }
    }

    fn compare(&self, index: Index, tensors: &[TensorInfo], problems: &mut Vec<Problem>) {
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

impl Source for Reader {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn file_count(&self) -> usize {
        self.files.len()
    }

    fn path(&self, file: FileId) -> &Path {
        &self.files[file].path
    }

    fn file_len(&self, file: FileId) -> u64 {
        self.files[file].len
    }

    fn description(&self, file: FileId) -> Result<Vec<u8>, Error> {
        let mut length = [0; 8];
        self.read_at(file, 0, &mut length)?;
        // It was checked that the header lies within the file as it was then.
        let length = u64::from_le_bytes(length);
        if length > self.file_len(file) {
            return Err(Error::SourceChanged { path: self.path(file).into() });
        }
        let mut header = vec![0; length as usize];
        self.read_at(file, 8, &mut header)?;
        Ok(header)
    }

    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let OpenFile { file, path, .. } = &self.files[file];
        read_exact_at(file, buffer, offset).map_err(Error::io("read", path))
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        for OpenFile { file, path, len, modified } in &self.files {
            let now = file.metadata().map_err(Error::io("read", path))?;
            if now.len() != *len || now.modified().ok() != *modified {
                return Err(Error::SourceChanged { path: path.clone() });
            }
        }
        Ok(())
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.files.get(file).map(|open| &open.file)
    }
}

#[cfg(test)]
mod tests;

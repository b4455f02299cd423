//! A checkpoint of safetensors files as a [`Source`].

use super::{FORM, Header, HeaderError, HeaderTensor, Problem, header};
use crate::checkpoint::files::{FileSet, OpenError, OpenFile, read_set};
use crate::store::{self, FileId, Source, TensorInfo};
use std::fs::File;
use std::path::Path;

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

impl Reader {
    /// Opens a `.safetensors` file, or a directory: the shards that its
    /// `model.safetensors.index.json` names; without one its `model.safetensors`; without that its
    /// `model-00001-of-00002.safetensors` and so on; without those all its `*.safetensors`. Links
    /// are followed.
    ///
    /// # Errors
    /// If there is no such checkpoint, its index is not readable, or the system refuses to read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let set = FileSet::find(&FORM, path.as_ref())?;
        let read = |file: &OpenFile| {
            let header = header::read(&file.file, file.len);
            let header = header.map_err(OpenError::io("read", &file.path))?;
            Ok(header.map_err(|kind| vec![HeaderError { file: file.path.clone(), kind }]))
        };
        let tell = |header: Header, id| {
            let tensor = |HeaderTensor { name, dtype, shape, bytes }| {
                TensorInfo::whole(name, shape, dtype, id, bytes.start)
            };
            Ok(header.tensors.into_iter().map(tensor).collect())
        };
        let read = read_set(set, read, tell)?;
        Ok(Reader { files: read.files, tensors: read.tensors, problems: read.problems })
    }

    /// Everything that is wrong with the set of files; empty if all is well.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Reader {
    /// For the owner to rename them.
    pub(in crate::checkpoint) fn tensors_mut(&mut self) -> &mut [TensorInfo] {
        &mut self.tensors
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

    fn description(&self, file: FileId) -> store::Result<Vec<u8>> {
        let mut length = [0; 8];
        self.read_at(file, 0, &mut length)?;
        // It was checked that the header lies within the file as it was then.
        let length = u64::from_le_bytes(length);
        if length > self.file_len(file) {
            return Err(store::Error::SourceChanged { path: self.path(file).into() });
        }
        let mut header = vec![0; length as usize];
        self.read_at(file, 8, &mut header)?;
        Ok(header)
    }

    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> store::Result<()> {
        self.files[file].read_at(offset, buffer)
    }

    fn check_unchanged(&self) -> store::Result<()> {
        self.files.iter().try_for_each(OpenFile::check_unchanged)
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.files.get(file).map(|open| &open.file)
    }
}

#[cfg(test)]
mod tests;

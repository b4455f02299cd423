//! `pytorch_model.bin` as a [`Source`].

use super::strided::Strided;
use super::{FORM, Malformed, Problem, Storage, Storages, archive, legacy, state};
use crate::checkpoint::Result;
use crate::checkpoint::files::{self, FileSet, OpenError, OpenFile, read_set};
use crate::checkpoint::torch::ZipError;
use crate::checkpoint::torch::pickle::Pickle;
use crate::checkpoint::torch::tensor::Rebuilt;
use crate::store::positioned::read_exact_at;
use crate::store::{self, Checksum, Dtype, FileId, Pieces, Source, TensorInfo};
use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A model as `torch.save` wrote it: one file, or shards.
///
/// Opening reads the pickle of every file, runs nothing of it, and keeps the files open. What is
/// wrong does not stop it: [`problems`](Reader::problems) has all of it. As long as there are any,
/// the tensors are not the whole checkpoint.
#[derive(Debug)]
pub struct Reader {
    files: Vec<OpenFile>,
    /// The pickle of each file.
    pickles: Vec<Vec<u8>>,
    /// Views of files, whose numbers follow those of the files.
    views: Vec<Strided>,
    tensors: Vec<TensorInfo>,
    checksums: Vec<Checksum>,
    problems: Vec<files::Problem<Malformed>>,
}

impl Reader {
    /// Opens a file of `torch.save`, or a directory: the shards that its
    /// `pytorch_model.bin.index.json` names; without one its `pytorch_model.bin`; without that its
    /// `pytorch_model-00001-of-00002.bin` and so on. Links are followed.
    ///
    /// # Errors
    /// If there is no such checkpoint, its index is not readable, or the system refuses to read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let set = FileSet::find(&FORM, path.as_ref())?;
        let (mut pickles, mut checksums) = (Vec::new(), Vec::new());
        let mut strided = HashMap::new();
        let read = |file: &OpenFile| {
            let mut magic = [0; legacy::MAGIC.len()];
            let len = file.len.min(magic.len() as u64) as usize;
            read_exact_at(&file.file, &mut magic[..len], 0)
                .map_err(OpenError::io("read", &file.path))?;
            let opened = match open_file(file, &magic) {
                Ok(opened) => Ok(opened),
                Err(problems) => Err(malformed(&file.path, not_refused(&file.path, problems)?)),
            };
            Ok(opened.map(|(pickle, storages)| (file.path.clone(), pickle, storages)))
        };
        let tell = |(path, pickle, storages): (PathBuf, Vec<u8>, Storages), id| {
            let found = describe(id, &pickle, &storages, &mut strided);
            let (found, mut named) = found.map_err(|problems| malformed(&path, problems))?;
            named.sort_unstable_by_key(|sum| sum.bytes.start);
            checksums.append(&mut named);
            pickles.push(pickle);
            Ok(found)
        };
        let read = read_set(set, read, tell)?;
        let files::ReadSet { files, mut tensors, problems } = read;
        let mut views = Vec::new();
        for tensor in &mut tensors {
            let Pieces::Whole { file, .. } = &mut tensor.pieces else { continue };
            if let Some(view) = strided.remove(&(*file, tensor.name.clone())) {
                *file = files.len() + views.len();
                views.push(view);
            }
        }
        Ok(Reader { files, pickles, views, tensors, checksums, problems })
    }

    /// Everything that is wrong with the set of files; empty if all is well.
    pub fn problems(&self) -> &[files::Problem<Malformed>] {
        &self.problems
    }

    /// The file itself, or the one that is viewed.
    fn file(&self, file: FileId) -> &OpenFile {
        &self.files[self.shown(file)]
    }
}

fn malformed(path: &Path, problems: Vec<Problem>) -> Vec<Malformed> {
    let at = |problem| Malformed { path: path.into(), problem };
    problems.into_iter().map(at).collect()
}

/// What is wrong with a file, if the system did not refuse to read it.
fn not_refused(path: &Path, problems: Vec<Problem>) -> Result<Vec<Problem>, OpenError> {
    problems
        .into_iter()
        .map(|problem| match problem {
            Problem::Zip(ZipError::Io(error)) if error.kind() != ErrorKind::UnexpectedEof => {
                Err(OpenError::io("read", path)(error))
            }
            problem => Ok(problem),
        })
        .collect()
}

/// The pickle of the state and the storages, in either form.
fn open_file(file: &OpenFile, magic: &[u8]) -> Result<(Vec<u8>, Storages), Vec<Problem>> {
    if magic.starts_with(archive::MAGIC) {
        archive::read(file).map_err(|problem| vec![problem])
    } else if magic == legacy::MAGIC {
        legacy::read(file)
    } else {
        Err(vec![Problem::NotTorch])
    }
}

/// The tensors of file number `file`, and the storages that they lie in; those that are not contiguous
/// are noted in `strided` too.
fn describe(
    file: FileId,
    pickle: &[u8],
    storages: &Storages,
    strided: &mut HashMap<(FileId, String), Strided>,
) -> Result<(Vec<TensorInfo>, Vec<Checksum>), Vec<Problem>> {
    let pickle = Pickle::read(pickle).map_err(|error| vec![Problem::Pickle(error)])?;
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut checksums = HashMap::new();
    for (name, tensor) in state::tensors(&pickle)? {
        match place(name, &tensor, storages) {
            Ok((dtype, first, Storage { bytes, crc })) => {
                checksums.entry(tensor.storage).or_insert_with(|| {
                    let (tensor, bytes) = (name.into(), bytes.clone());
                    Checksum { tensor, file, bytes, crc: *crc }
                });
                if !tensor.is_contiguous() {
                    let size = dtype.bits() / 8;
                    let view = Strided::new(file, first, size, &tensor.size, &tensor.strides);
                    strided.insert((file, name.to_string()), view);
                }
                found.push(TensorInfo::whole(name.into(), tensor.size, dtype, file, first));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok((found, checksums.into_values().collect()))
}

/// The type of a tensor, the first byte of its first element, and its storage, if all of them are
/// within that.
fn place<'s>(
    name: &str,
    tensor: &Rebuilt<'_>,
    storages: &'s Storages,
) -> Result<(Dtype, u64, &'s Storage), Problem> {
    let Some(dtype) = tensor.dtype else {
        let (tensor, dtype) = (name.into(), tensor.dtype_name.into());
        return Err(Problem::Dtype { tensor, dtype });
    };
    let Some(storage) = storages.get(tensor.storage) else {
        let (tensor, storage) = (name.into(), tensor.storage.into());
        return Err(Problem::NoStorage { tensor, storage });
    };
    let elements = tensor.size.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64));
    let fits = elements.and_then(|elements| dtype.size(elements)).is_some();
    let end = tensor.reach().and_then(|reach| dtype.size(reach));
    let bytes = storage.bytes.end - storage.bytes.start;
    match (end, dtype.size(tensor.offset)) {
        (Some(end), Some(skip)) if fits && end <= bytes => {
            Ok((dtype, storage.bytes.start + skip, storage))
        }
        _ => Err(Problem::Beyond { tensor: name.into(), shape: tensor.size.clone(), bytes }),
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

    fn shown(&self, file: FileId) -> FileId {
        let view = file.checked_sub(self.files.len()).map(|view| &self.views[view]);
        view.map_or(file, |view| view.file)
    }

    fn path(&self, file: FileId) -> &Path {
        &self.file(file).path
    }

    fn file_len(&self, file: FileId) -> u64 {
        self.file(file).len
    }

    fn description(&self, file: FileId) -> store::Result<Vec<u8>> {
        Ok(self.pickles[file].clone())
    }

    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> store::Result<()> {
        match file.checked_sub(self.files.len()) {
            None => self.files[file].read_at(offset, buffer),
            Some(view) => self.views[view].read_at(self.file(file), offset, buffer),
        }
    }

    fn check_unchanged(&self) -> store::Result<()> {
        self.files.iter().try_for_each(OpenFile::check_unchanged)
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        // A view has to be rearranged: the kernel cannot copy it.
        self.files.get(file).map(|open| &open.file)
    }

    fn checksums(&self) -> &[Checksum] {
        &self.checksums
    }
}

#[cfg(test)]
mod tests;

use super::checksums::{self, Checked};
use super::files::{Form, Found, OpenError, OpenErrorKind};
use super::{form_at, safetensors, torch_dist, torch_save};
use crate::base::{Cancel, Finding, FindingKind, Progress};
use crate::checkpoint::{Error, Result};
use crate::store::{self, Checksum, FileId, Source, TensorInfo};
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// The tensors at a path, whatever container holds them.
#[derive(Debug)]
pub enum Tensors {
    /// A safetensors file, or a directory with some.
    Safetensors(safetensors::Reader),
    /// A directory with a distributed checkpoint of PyTorch, as Megatron-core writes it.
    TorchDist(torch_dist::Reader),
    /// A file of `torch.save`, or a directory with `pytorch_model.bin`.
    TorchSave(torch_save::Reader),
}

impl Tensors {
    /// Opens what is at `path`: a directory with `.metadata` is a distributed checkpoint; where there
    /// are no safetensors but a `pytorch_model.bin`, that is read, as transformers does.
    ///
    /// What is wrong with the files does not stop it: [`problems`](Tensors::problems) has all of it.
    ///
    /// # Errors
    /// [`Error::Open`] or [`Error::TorchDist`] if it is neither;
    /// [`Io`](crate::store::Error::Io).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if torch_dist::is_at(path)? {
            return torch_dist::Reader::open(path).map(Tensors::TorchDist);
        }
        Tensors::open_in(form_at(path)?, path).or_else(|error| match error {
            // The files of a distributed checkpoint whose `.metadata` is missing.
            Error::Open(OpenError {
                kind: OpenErrorKind::NoCheckpoint(Found::TorchDist), ..
            }) => torch_dist::Reader::open(path).map(Tensors::TorchDist),
            error => Err(error),
        })
    }

    /// The bytes of a tensor, in row-major order and of the type that
    /// [`tensors`](Source::tensors) says.
    ///
    /// # Errors
    /// [`Error::NoTensor`]; [`Io`](crate::store::Error::Io).
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let found = self.tensors().iter().find(|tensor| tensor.name == name);
        let found = found.ok_or_else(|| Error::NoTensor { name: name.into() })?;
        Ok(store::read_tensor(self, found)?)
    }

    /// Opens the weights at `path` that have this form.
    pub(super) fn open_in(form: &Form, path: &Path) -> Result<Self> {
        if form.single == torch_save::FORM.single {
            return torch_save::Reader::open(path).map(Tensors::TorchSave).map_err(Error::from);
        }
        safetensors::Reader::open(path).map(Tensors::Safetensors).map_err(Error::from)
    }

    /// Gives every tensor the name that `name` makes of its own.
    pub(crate) fn rename(&mut self, name: impl Fn(&str) -> String) {
        let tensors = match self {
            Tensors::Safetensors(reader) => reader.tensors_mut(),
            Tensors::TorchDist(reader) => reader.tensors_mut(),
            Tensors::TorchSave(reader) => reader.tensors_mut(),
        };
        tensors.iter_mut().for_each(|tensor| tensor.name = name(&tensor.name));
    }

    /// The container's name.
    pub fn container(&self) -> &'static str {
        match self {
            Tensors::Safetensors(_) => "safetensors",
            Tensors::TorchDist(_) => "torch_dist",
            Tensors::TorchSave(_) => "torch_save",
        }
    }

    /// Everything that is wrong with the files; empty if all is well.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Tensors::Safetensors(reader) => {
                reader.problems().iter().map(ToString::to_string).collect()
            }
            Tensors::TorchDist(reader) => {
                reader.problems().iter().map(ToString::to_string).collect()
            }
            Tensors::TorchSave(reader) => {
                reader.problems().iter().map(ToString::to_string).collect()
            }
        }
    }

    /// Reads every byte, on `threads` threads, and holds it against the checksums in the files; `None`
    /// for safetensors, which has no place for any.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io), [`Error::Cancelled`].
    pub fn check(
        &self,
        threads: usize,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Option<Checked>> {
        if self.checksums().is_empty() {
            return Ok(None);
        }
        checksums::check(self.source(), threads, progress, cancel).map(Some)
    }

    /// The same as findings about `subject`.
    pub(crate) fn findings(&self, subject: &str) -> Vec<Finding> {
        let problems = self.problems().into_iter();
        problems.map(|problem| Finding::new(FindingKind::Files, subject, problem)).collect()
    }

    fn source(&self) -> &dyn Source {
        match self {
            Tensors::Safetensors(reader) => reader,
            Tensors::TorchDist(reader) => reader,
            Tensors::TorchSave(reader) => reader,
        }
    }
}

impl Source for Tensors {
    fn tensors(&self) -> &[TensorInfo] {
        self.source().tensors()
    }

    fn file_count(&self) -> usize {
        self.source().file_count()
    }

    fn shown(&self, file: FileId) -> FileId {
        self.source().shown(file)
    }

    fn path(&self, file: FileId) -> &Path {
        self.source().path(file)
    }

    fn file_len(&self, file: FileId) -> u64 {
        self.source().file_len(file)
    }

    fn description(&self, file: FileId) -> store::Result<Vec<u8>> {
        self.source().description(file)
    }

    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> store::Result<()> {
        self.source().read_at(file, offset, buffer)
    }

    fn check_unchanged(&self) -> store::Result<()> {
        self.source().check_unchanged()
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.source().local_file(file)
    }

    fn checksums(&self) -> &[Checksum] {
        self.source().checksums()
    }

    fn note(&self, file: FileId, range: Range<u64>, bytes: Option<&[u8]>) {
        self.source().note(file, range, bytes);
    }
}

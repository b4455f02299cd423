//! The containers that outputs are written in, as one.

use super::safetensors::{self, OutputTensor};
use super::torch_dist::{self, DistOptions};
use crate::base::Cancel;
use crate::checkpoint::{Error, Result};
use crate::store::{Part, Sink};
use std::path::Path;
use std::sync::Arc;

/// How tensors lie on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// One file or shards with an index.
    #[default]
    Safetensors,
    /// A distributed checkpoint of PyTorch, with the names of Megatron-core: what NeMo, Megatron-LM
    /// and Megatron-Bridge load.
    TorchDist(DistOptions),
}

/// Where every tensor will lie, in its container.
#[derive(Debug)]
pub(crate) enum Layout {
    Safetensors(Arc<safetensors::Layout>),
    TorchDist(Arc<torch_dist::Layout>),
}

impl Container {
    /// The container's name.
    pub fn name(&self) -> &'static str {
        match self {
            Container::Safetensors => "safetensors",
            Container::TorchDist(_) => "torch_dist",
        }
    }

    /// Lays tensors out in files of at most `max_file_size` bytes. `origins` says for each at which
    /// byte of its file it begins, if it moves as it is.
    pub(crate) fn layout(
        &self,
        tensors: &[OutputTensor<'_>],
        origins: &[Option<u64>],
        max_file_size: u64,
    ) -> Result<Layout> {
        match self {
            Container::Safetensors => safetensors::Layout::new(tensors, origins, max_file_size)
                .map(|layout| Layout::Safetensors(layout.into()))
                .map_err(Error::from),
            Container::TorchDist(options) => {
                torch_dist::Layout::new(tensors, max_file_size, options)
                    .map(|layout| Layout::TorchDist(layout.into()))
                    .map_err(Error::from)
            }
        }
    }

    /// The name under which a reader of this container finds a tensor that was written as `name`.
    pub(crate) fn read_back(&self, name: &str) -> String {
        match self {
            Container::Safetensors => name.into(),
            Container::TorchDist(_) => torch_dist::canonical(name),
        }
    }
}

impl Layout {
    /// The names and lengths of the files.
    pub fn files(&self) -> Vec<(&str, u64)> {
        match self {
            Layout::Safetensors(layout) => {
                layout.files().iter().map(|file| (file.name.as_str(), file.len)).collect()
            }
            Layout::TorchDist(layout) => {
                layout.files().iter().map(|file| (file.name.as_str(), file.len)).collect()
            }
        }
    }

    /// What is known of the files in memory, in bytes, beside what any container takes for each tensor:
    /// until they are written, and when they are read back.
    pub fn tables(&self) -> u64 {
        match self {
            Layout::Safetensors(_) => 0,
            Layout::TorchDist(layout) => layout.tables(),
        }
    }

    /// The parts of a tensor, by its number.
    pub fn parts(&self, tensor: usize) -> Vec<Part> {
        match self {
            Layout::Safetensors(layout) => {
                let place = layout.placements()[tensor];
                Part::whole(place.file, place.offset)
            }
            Layout::TorchDist(layout) => layout.places()[tensor].clone(),
        }
    }

    /// Creates the files in `dir`.
    pub fn create(&self, dir: &Path) -> Result<Writer> {
        Ok(match self {
            Layout::Safetensors(layout) => {
                Writer::Safetensors(safetensors::Writer::create(dir, layout.clone())?)
            }
            Layout::TorchDist(layout) => {
                Writer::TorchDist(torch_dist::Writer::create(dir, layout.clone())?)
            }
        })
    }
}

/// A container being written.
pub(crate) enum Writer {
    Safetensors(safetensors::Writer),
    TorchDist(torch_dist::Writer),
}

impl Writer {
    /// Where the tensors' bytes are written.
    pub fn sink(&self) -> &dyn Sink {
        match self {
            Writer::Safetensors(writer) => writer,
            Writer::TorchDist(writer) => writer,
        }
    }

    /// Completes the files.
    pub fn finish(self, threads: usize, cancel: &Cancel) -> Result<()> {
        match self {
            Writer::Safetensors(writer) => writer.finish(),
            Writer::TorchDist(writer) => writer.finish(threads, cancel),
        }
    }
}

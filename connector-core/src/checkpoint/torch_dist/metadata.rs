//! `.metadata`: what lies where.
//!
//! ```text
//! Metadata                                    or Megatron-core's MCoreMetadata
//!   state_dict_metadata: dict
//!     key -> TensorStorageMetadata            a tensor
//!              properties: TensorProperties   (dtype, layout, …): 5 items, since torch 2.9 six
//!              size: torch.Size
//!              chunks: [ChunkStorageMetadata] offsets and sizes: the pieces
//!     key -> BytesStorageMetadata             an object; the model's are of no use outside of it
//!   storage_data: dict
//!     MetadataIndex -> _StorageInfo           (key, offsets) -> (relative_path, offset, length)
//! ```
//!
//! All else (plans of the ranks, names of the run) is passed over.

use super::Problem;
use crate::checkpoint::torch::pickle::{Pickle, PickleError, View, Writer};
use std::collections::HashMap;

/// A tensor as `.metadata` describes it.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    pub key: String,
    /// The name of its type in torch.
    pub dtype: String,
    pub shape: Vec<usize>,
    pub chunks: Vec<Chunk>,
}

/// A box of a tensor, and where its record is.
#[derive(Debug, PartialEq)]
pub(super) struct Chunk {
    pub start: Vec<usize>,
    pub size: Vec<usize>,
    pub record: Option<Place>,
}

/// Where a record is: its file, first byte and number of bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub file: String,
    pub offset: u64,
    pub length: u64,
}

/// The tensors of the model that the pickle describes, and how many other entries it has.
pub(super) fn read(
    bytes: &[u8],
    wanted: impl Fn(&str) -> bool,
) -> Result<(Vec<Stored>, usize), Problem> {
    let pickle = Pickle::read(bytes)?;
    let state = state(&pickle)?;
    let mut records = records(state.field("storage_data")?, &wanted)?;
    let described = state.field("state_dict_metadata")?;
    // Tensors may share one list of pieces, which a hostile file has thousands of refer to. Each
    // piece has a record; some more may lack theirs, to be told of.
    let most = records.len().saturating_mul(2).saturating_add(1024);
    let mut left = most;
    let (mut tensors, mut others) = (Vec::new(), 0);
    let mut seen = HashMap::new();
    for (key, value) in described.dict()? {
        let key = key.text()?;
        if !wanted(key) || value.object("BytesStorageMetadata", "").is_ok() {
            others += 1;
            continue;
        }
        if seen.insert(key, ()).is_some() {
            return Err(Problem::Twice(key.into()));
        }
        let value = value.named(key);
        let tensor = value.object("TensorStorageMetadata", "TensorStorageMetadata")?;
        let properties =
            tensor.field("properties")?.object("TensorProperties", "TensorProperties")?;
        let dtype = dtype(properties)?;
        let chunks = tensor.field("chunks")?;
        let count = chunks.list()?.len();
        if count > left {
            return Err(Problem::TooMany { tensor: key.into(), count, what: "pieces", most });
        }
        left -= count;
        let mut pieces = Vec::with_capacity(count);
        for chunk in chunks.list()? {
            let (start, size) = chunk_box(chunk)?;
            let record = records.remove(&(key, start.clone()));
            pieces.push(Chunk { start, size, record });
        }
        let shape = tensor.field("size")?.dimensions()?;
        tensors.push(Stored { key: key.into(), dtype, shape, chunks: pieces });
    }
    Ok((tensors, others))
}

/// Where the object `key` is, if the pickle describes it.
pub(super) fn object(bytes: &[u8], key: &str) -> Result<Option<Place>, Problem> {
    let pickle = Pickle::read(bytes)?;
    for (index, info) in state(&pickle)?.field("storage_data")?.dict()? {
        if index.object("MetadataIndex", "MetadataIndex")?.field("fqn")?.text()? == key {
            return place(info).map(Some);
        }
    }
    Ok(None)
}

/// The attributes of the metadata.
fn state<'p, 'a>(pickle: &'p Pickle<'a>) -> Result<View<'p, 'a>, PickleError> {
    let top = pickle.top("the checkpoint's metadata");
    top.object("Metadata", "Metadata")
        .or_else(|_| top.object("MCoreMetadata", "an object of torch's Metadata"))
}

/// The place of a record.
fn place(info: View<'_, '_>) -> Result<Place, Problem> {
    let info = info.object("_StorageInfo", "_StorageInfo")?;
    if info.get("transform_descriptors")?.is_some_and(|list| !list.is_none()) {
        let error = info.named("transform_descriptors").unexpected("records as they are");
        return Err(error.into());
    }
    Ok(Place {
        file: info.field("relative_path")?.text()?.into(),
        offset: info.field("offset")?.count()?,
        length: info.field("length")?.count()?,
    })
}

/// The name in torch of the type in the properties. They are a tuple, or attributes in old files.
fn dtype(properties: View<'_, '_>) -> Result<String, PickleError> {
    let dtype = match properties.list() {
        Ok(mut items) => items.next().ok_or_else(|| properties.unexpected("a type"))?,
        Err(_) => properties.field("dtype")?,
    };
    match dtype.global()? {
        ("torch", name) => Ok(name.into()),
        _ => Err(dtype.unexpected("a type of torch")),
    }
}

fn chunk_box(chunk: View<'_, '_>) -> Result<(Vec<usize>, Vec<usize>), PickleError> {
    let state = chunk.object("ChunkStorageMetadata", "ChunkStorageMetadata")?;
    Ok((state.field("offsets")?.dimensions()?, state.field("sizes")?.dimensions()?))
}

/// The records of the wanted tensors by key and first index.
fn records<'a>(
    storage: View<'_, 'a>,
    wanted: &impl Fn(&str) -> bool,
) -> Result<HashMap<(&'a str, Vec<usize>), Place>, Problem> {
    let mut records = HashMap::new();
    for (index, info) in storage.dict()? {
        let index = index.object("MetadataIndex", "MetadataIndex")?;
        let key = index.field("fqn")?.text()?;
        if !wanted(key) {
            continue;
        }
        // Objects have no place inside a tensor.
        let Some(start) = index.get("offset")?.filter(|offset| !offset.is_none()) else { continue };
        if records.insert((key, start.dimensions()?), place(info)?).is_some() {
            return Err(Problem::Twice(key.into()));
        }
    }
    Ok(records)
}

/// The module that most classes are in.
const MODULE: &str = "torch.distributed.checkpoint.metadata";

/// `.metadata` of these tensors, whose chunks have records, and of objects by key.
pub(super) fn write(tensors: &[Stored], objects: &[(String, Place)]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.object(MODULE, "Metadata", |w| {
        w.dict(|w| {
            w.text("state_dict_metadata").dict(|w| {
                tensors.iter().for_each(|tensor| write_tensor(w, tensor));
                for (key, _) in objects {
                    w.text(key).object(MODULE, "BytesStorageMetadata", |w| {
                        w.dict(|_| {});
                    });
                }
            });
            w.text("planner_data").none();
            w.text("storage_data").dict(|w| {
                for Stored { key, chunks, .. } in tensors {
                    for Chunk { start, record, .. } in chunks {
                        write_place(w, key, Some(start.as_slice()), record.as_ref());
                    }
                }
                objects.iter().for_each(|(key, place)| write_place(w, key, None, Some(place)));
            });
            w.text("storage_meta").object(MODULE, "StorageMeta", |w| {
                w.dict(|w| {
                    // Names of the run, which would differ from run to run.
                    w.text("checkpoint_id").none();
                    w.text("save_id").none();
                    w.text("load_id").none();
                    w.text("modules").list(|_| {});
                });
            });
            w.text("version").text("1.0.0");
        });
    });
    writer.finish()
}

fn write_tensor(writer: &mut Writer, tensor: &Stored) {
    let Stored { key, dtype, shape, chunks } = tensor;
    writer.text(key).object(MODULE, "TensorStorageMetadata", |w| {
        w.dict(|w| {
            w.text("properties").object(MODULE, "TensorProperties", |w| {
                // Five items: torch up to 2.8 refuses the sixth that later ones write.
                w.tuple(|w| {
                    w.global("torch", dtype);
                    w.call("torch.serialization", "_get_layout", |w| {
                        w.text("torch.strided");
                    });
                    w.bool(false);
                    w.call(MODULE, "_MEM_FORMAT_ENCODING", |w| {
                        w.int(0);
                    });
                    w.bool(false);
                });
            });
            w.text("size");
            write_size(w, shape);
            w.text("chunks").list(|w| {
                for Chunk { start, size, .. } in chunks {
                    w.object(MODULE, "ChunkStorageMetadata", |w| {
                        w.dict(|w| {
                            w.text("offsets");
                            write_size(w, start);
                            w.text("sizes");
                            write_size(w, size);
                        });
                    });
                }
            });
        });
    });
}

fn write_size(writer: &mut Writer, dimensions: &[usize]) {
    writer.call("torch", "Size", |w| {
        w.ints(dimensions.iter().map(|&n| n as u64));
    });
}

/// Where the record of a chunk or an object is. A chunk without one is left out.
fn write_place(writer: &mut Writer, key: &str, start: Option<&[usize]>, place: Option<&Place>) {
    let Some(Place { file, offset, length }) = place else { return };
    writer.object(MODULE, "MetadataIndex", |w| {
        w.dict(|w| {
            w.text("fqn").text(key);
            w.text("index").none();
            if let Some(start) = start {
                w.text("offset");
                write_size(w, start);
            }
        });
    });
    writer.object("torch.distributed.checkpoint.filesystem", "_StorageInfo", |w| {
        w.dict(|w| {
            w.text("relative_path").text(file);
            w.text("offset").int(*offset);
            w.text("length").int(*length);
        });
    });
}

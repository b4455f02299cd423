//! The files of a checkpoint to be written, computed before the first byte is.

use super::json::Entry;
use super::rules::{shown, size_of};
use super::{FORM, InvalidTensor, MAX_HEADER, METADATA};
use crate::base::parallel;
use crate::checkpoint::files::to_json;
use crate::store::{Dtype, FileId};
use foldhash::{HashSet, HashSetExt};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

/// The tensors begin at a multiple of this. The format asks for nothing, and its own writer pads
/// to 8; a cache line suits vector loads from a mapped file, and any padding by spaces is legal.
const ALIGNMENT: usize = 64;

/// The size of a page of memory and, as a rule, of a block of a file system. Where a tensor lies at
/// the same place within a block as in the file that it comes from, a file system with reflinks
/// (XFS, Btrfs) can share its blocks instead of copying them.
const BLOCK: u64 = 4096;

/// The bytes in front of a header that tell its length.
const LENGTH: usize = 8;

/// About how many bytes of a header a tensor takes beside its name.
const ENTRY: usize = 96;

/// A tensor to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputTensor<'a> {
    /// The key.
    pub name: &'a str,
    /// The type of an element.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: &'a [usize],
}

/// Where every tensor of a checkpoint will lie, and every byte around them.
///
/// The same tensors make the same layout, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    files: Vec<ShardFile>,
    placements: Vec<Placement>,
    index: Option<Vec<u8>>,
}

/// A safetensors file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardFile {
    /// The file name.
    pub name: String,
    /// Everything before the tensors: the header with its length in front.
    pub header: Vec<u8>,
    /// The length of the file in bytes.
    pub len: u64,
}

/// Where a tensor will lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Its file, counted in [`Layout::files`].
    pub file: FileId,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its size in bytes.
    pub len: u64,
}

/// Tensors that no safetensors checkpoint can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A tensor's name or size is refused.
    #[error(transparent)]
    Tensor(#[from] InvalidTensor),
    /// Two tensors have one name.
    #[error("two tensors are called `{}`", shown(name))]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// The tensors' size does not fit in 64 bits.
    #[error("the size of all tensors together does not fit in 64 bits")]
    Overflow,
    /// A shard has too many tensors.
    #[error(
        "the header of `{shard}` would have {len} bytes; at most {MAX_HEADER} are allowed; \
         smaller shards have smaller headers"
    )]
    HeaderTooLarge {
        /// The file name.
        shard: String,
        /// The length of the header.
        len: usize,
    },
}

impl Layout {
    /// Puts the tensors into files, in the order given, each of at most `max_shard_size` bytes of
    /// tensors. A larger tensor gets a file of its own.
    ///
    /// Of tensors that come from other files, `origins` says for each at which byte of its file it
    /// begins, if it moves as it is: the headers are made as long as it takes to bring the most bytes
    /// to the same place within a block as there.
    ///
    /// # Errors
    /// If a tensor or a header cannot be written in a form that every reader takes.
    pub fn new(
        tensors: &[OutputTensor<'_>],
        origins: &[Option<u64>],
        max_shard_size: u64,
    ) -> Result<Self, LayoutError> {
        let (repeated, sizes) = parallel::both(|| repeated_name(tensors), || sizes(tensors));
        let (sizes, total) = sizes?;
        if let Some(name) = repeated {
            return Err(LayoutError::DuplicateName { name: name.into() });
        }
        let shards = split(&sizes, max_shard_size);
        let count = shards.len();
        let names: Vec<String> = (0..count).map(|file| shard_name(file, count)).collect();
        let index = || {
            let mut map = Vec::with_capacity(tensors.len());
            for (members, name) in shards.iter().zip(&names) {
                let tensors = &tensors[members.clone()];
                map.extend(tensors.iter().map(|tensor| (tensor.name, name.as_str())));
            }
            to_json(map, total)
        };
        let file = |file: FileId| {
            let members = shards[file].clone();
            let origins = origins.get(members.clone()).unwrap_or_default();
            let (tensors, sizes) = (&tensors[members.clone()], &sizes[members]);
            lay_out(names[file].clone(), file, tensors, sizes, origins)
        };
        let files = || parallel::map(parallel::cores(), count, file);
        let (index, laid_out) = match count {
            1 => (None, files()),
            _ => parallel::both(|| Some(index()), files),
        };
        let mut files = Vec::with_capacity(count);
        let mut placements = Vec::with_capacity(tensors.len());
        for shard in laid_out {
            let (file, placed) = shard?;
            files.push(file);
            placements.extend(placed);
        }
        Ok(Layout { files, placements, index })
    }

    /// The files, at least one.
    pub fn files(&self) -> &[ShardFile] {
        &self.files
    }

    /// The place of each tensor, in the order in which they were given.
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// The name and the bytes of the index, if there is more than one file.
    pub fn index(&self) -> Option<(&'static str, &[u8])> {
        self.index.as_deref().map(|bytes| (FORM.index, bytes))
    }
}

/// A name that two tensors have.
fn repeated_name<'a>(tensors: &[OutputTensor<'a>]) -> Option<&'a str> {
    let mut names = HashSet::with_capacity(tensors.len());
    tensors.iter().map(|tensor| tensor.name).find(|name| !names.insert(*name))
}

/// The size of each tensor in bytes, and of all.
fn sizes(tensors: &[OutputTensor<'_>]) -> Result<(Vec<u64>, u64), LayoutError> {
    let mut sizes = Vec::with_capacity(tensors.len());
    let mut total = 0u64;
    for &OutputTensor { name, dtype, shape } in tensors {
        let size = size_of(name, dtype, shape)?;
        // Headers are far smaller than the 2^63 bytes left free here.
        total = total
            .checked_add(size)
            .filter(|&total| total <= i64::MAX as u64)
            .ok_or(LayoutError::Overflow)?;
        sizes.push(size);
    }
    Ok((sizes, total))
}

/// Cuts the sequence of tensors into shards.
fn split(sizes: &[u64], max_shard_size: u64) -> Vec<Range<usize>> {
    let mut shards = Vec::new();
    let (mut start, mut filled) = (0, 0);
    for (i, &size) in sizes.iter().enumerate() {
        if i > start && filled + size > max_shard_size {
            shards.push(start..i);
            (start, filled) = (i, 0);
        }
        filled += size;
    }
    shards.push(start..sizes.len());
    shards
}

fn shard_name(file: FileId, count: usize) -> String {
    match count {
        1 => FORM.single.into(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", file + 1),
    }
}

/// Lays out one file: the file, and where each of its tensors is.
fn lay_out(
    name: String,
    file: FileId,
    tensors: &[OutputTensor<'_>],
    sizes: &[u64],
    origins: &[Option<u64>],
) -> Result<(ShardFile, Vec<Placement>), LayoutError> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    // The largest elements first: every tensor then begins at a multiple of its element's size.
    order.sort_by_key(|&i| Reverse(tensors[i].dtype.bits()));
    // The length comes in front, padding behind.
    let len: usize = tensors.iter().map(|tensor| tensor.name.len() + ENTRY).sum();
    let mut json = Vec::with_capacity(LENGTH + len + 2 * BLOCK as usize);
    json.extend([0; LENGTH]);
    json.extend(format!(r#"{{"{METADATA}":{{"format":"pt"}}"#).into_bytes());
    let mut placed = vec![Placement { file, offset: 0, len: 0 }; tensors.len()];
    let mut end = 0;
    for i in order {
        let OutputTensor { name, dtype, shape } = tensors[i];
        let (begin, len) = (end, sizes[i]);
        end += len;
        (placed[i].offset, placed[i].len) = (begin, len);
        let data_offsets = (begin, end);
        let entry = Entry { dtype: dtype.name().into(), shape: shape.into(), data_offsets };
        json.push(b',');
        append_json(&mut json, name);
        json.push(b':');
        append_json(&mut json, &entry);
    }
    json.push(b'}');
    let header = frame(&name, json, shift(&placed, origins))?;
    let data_start = header.len() as u64;
    for place in &mut placed {
        place.offset += data_start;
    }
    Ok((ShardFile { name, len: data_start + end, header }, placed))
}

/// How far into a block the tensors' bytes begin, if most of them are to lie within their blocks as
/// at their origins. `placed` counts from the first tensor.
fn shift(placed: &[Placement], origins: &[Option<u64>]) -> Option<u64> {
    let mut bytes = BTreeMap::<u64, u64>::new();
    for (place, origin) in placed.iter().zip(origins) {
        if let Some(origin) = origin {
            let shift = (origin % BLOCK + BLOCK - place.offset % BLOCK) % BLOCK;
            *bytes.entry(shift).or_default() += place.len;
        }
    }
    // Of as many bytes the smallest shift; elements of eight bytes stay aligned.
    let shifts = bytes.into_iter().filter(|(shift, _)| shift.is_multiple_of(8)).rev();
    shifts.max_by_key(|(_, bytes)| *bytes).map(|(shift, _)| shift)
}

/// Pads a header's JSON, and puts its length in the room in front that is left for it.
fn frame(shard: &str, mut json: Vec<u8>, shift: Option<u64>) -> Result<Vec<u8>, LayoutError> {
    let least = json.len();
    let length = match shift.map(|shift| shift as usize) {
        Some(shift) => {
            let block = BLOCK as usize;
            least + (shift + block - least % block) % block
        }
        None => least.next_multiple_of(ALIGNMENT),
    };
    json.resize(length, b' ');
    let len = length - LENGTH;
    if len as u64 > MAX_HEADER {
        return Err(LayoutError::HeaderTooLarge { shard: shard.into(), len });
    }
    json[..LENGTH].copy_from_slice(&(len as u64).to_le_bytes());
    Ok(json)
}

fn append_json(json: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(json, value).expect("strings and numbers go into a Vec");
}

#[cfg(test)]
mod tests;

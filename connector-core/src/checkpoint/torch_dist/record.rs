//! One piece of a tensor: a zip archive whose `data.pkl` says what the bytes of `data/0` are.

use crate::checkpoint::torch::pickle::{Pickle, PickleError, Writer};
use crate::checkpoint::torch::tensor::Rebuilt;
use crate::checkpoint::torch::types;
use crate::checkpoint::torch::zip::{Archive, Member, ZipError};
use crate::store::Dtype;
use std::fs::File;
use std::ops::Range;

/// The longest pickle of a tensor. Real ones have about 200 bytes.
const LONGEST_PICKLE: u64 = 64 << 10;

/// Why a record is no piece of a tensor.
pub(super) enum RecordProblem {
    Zip(ZipError),
    Pickle(PickleError),
    /// It holds another tensor.
    Other(Option<Dtype>, Vec<usize>),
    Elements(&'static str),
}

impl From<ZipError> for RecordProblem {
    fn from(error: ZipError) -> Self {
        RecordProblem::Zip(error)
    }
}

impl From<PickleError> for RecordProblem {
    fn from(error: PickleError) -> Self {
        RecordProblem::Pickle(error)
    }
}

/// Where a piece is.
pub(super) struct Located {
    /// Its first byte in the file.
    pub first: u64,
    /// The member that holds it.
    pub data: Member,
}

/// Where in `file` the elements of the record at `range` are, which must be of `dtype` and `size`.
pub(super) fn locate(
    file: &File,
    range: Range<u64>,
    dtype: Dtype,
    size: &[usize],
) -> Result<Located, RecordProblem> {
    let archive = Archive::open(file, range)?;
    if let Ok(order) = archive.member("byteorder")
        && archive.read(order, 16)? != b"little"
    {
        return Err(RecordProblem::Elements("its bytes are in big-endian order"));
    }
    let bytes = archive.read(archive.member("data.pkl")?, LONGEST_PICKLE)?;
    let pickle = Pickle::read(&bytes)?;
    let top = pickle.top("data.pkl");
    let tensor = Rebuilt::parse(top)?;
    if tensor.storage != "0" {
        return Err(top.unexpected("a tensor in data/0").into());
    }
    if tensor.dtype != Some(dtype) || tensor.size != size {
        return Err(RecordProblem::Other(tensor.dtype, tensor.size));
    }
    if !tensor.is_contiguous() {
        return Err(RecordProblem::Elements("its elements are not one behind the other"));
    }
    let member = archive.member("data/0")?;
    let data = &member.data;
    let elements = tensor.size.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64));
    let bytes = elements.and_then(|elements| dtype.size(elements));
    let first = dtype.size(tensor.offset).and_then(|skip| data.start.checked_add(skip));
    match bytes.zip(first).and_then(|(bytes, first)| Some((first, first.checked_add(bytes)?))) {
        Some((first, end)) if end <= data.end => Ok(Located { first, data: member.clone() }),
        _ => Err(RecordProblem::Elements("it has fewer elements than its shape")),
    }
}

/// `data.pkl` of a piece; `None` for a type that torch has no class of storage for.
pub(super) fn pickle(dtype: Dtype, size: &[usize]) -> Option<Vec<u8>> {
    let class = types::storage(dtype)?;
    let sizes: Vec<u64> = size.iter().map(|&n| n as u64).collect();
    let mut strides = vec![1; sizes.len()];
    for dimension in (1..sizes.len()).rev() {
        strides[dimension - 1] = strides[dimension] * sizes[dimension].max(1);
    }
    let mut writer = Writer::new();
    writer.call("torch._utils", "_rebuild_tensor_v2", |args| {
        args.persistent(|id| {
            id.tuple(|id| {
                let elements = sizes.iter().product();
                id.text("storage").global("torch", class).text("0").text("cpu").int(elements);
            });
        });
        args.int(0).ints(sizes.iter().copied()).ints(strides.iter().copied()).bool(false);
        args.call("collections", "OrderedDict", |_| {});
    });
    Some(writer.finish())
}

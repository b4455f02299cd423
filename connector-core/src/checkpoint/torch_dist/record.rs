//! One piece of a tensor: a zip archive whose `data.pkl` says what the bytes of `data/0` are.
//!
//! ```text
//! torch._utils._rebuild_tensor_v2(
//!     ('storage', torch.BFloat16Storage, '0', 'cpu', numel),    a persistent id: the file data/0
//!     storage_offset, sizes, strides, requires_grad, hooks)     in elements
//! ```

use crate::checkpoint::torch::pickle::{Pickle, PickleError, View, Writer};
use crate::checkpoint::torch::types;
use crate::checkpoint::torch::zip::{Archive, ZipError};
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

/// The first byte in `file` of the elements of the record at `range`, which must be of `dtype` and
/// `size`.
pub(super) fn locate(
    file: &File,
    range: Range<u64>,
    dtype: Dtype,
    size: &[usize],
) -> Result<u64, RecordProblem> {
    let archive = Archive::open(file, range)?;
    if let Ok(order) = archive.member("byteorder")
        && archive.read(order, 16)? != b"little"
    {
        return Err(RecordProblem::Elements("its bytes are in big-endian order"));
    }
    let bytes = archive.read(archive.member("data.pkl")?, LONGEST_PICKLE)?;
    let pickle = Pickle::read(&bytes)?;
    let tensor = Tensor::parse(pickle.top("data.pkl"))?;
    if tensor.dtype != Some(dtype) || tensor.size != size {
        return Err(RecordProblem::Other(tensor.dtype, tensor.size));
    }
    if !tensor.is_contiguous() {
        return Err(RecordProblem::Elements("its elements are not one behind the other"));
    }
    let data = &archive.member("data/0")?.data;
    let elements = tensor.size.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64));
    let bytes = elements.and_then(|elements| dtype.size(elements));
    let first = dtype.size(tensor.offset).and_then(|skip| data.start.checked_add(skip));
    match bytes.zip(first).and_then(|(bytes, first)| Some((first, first.checked_add(bytes)?))) {
        Some((first, end)) if end <= data.end => Ok(first),
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

struct Tensor {
    dtype: Option<Dtype>,
    offset: u64,
    size: Vec<usize>,
    strides: Vec<usize>,
}

impl Tensor {
    fn parse(top: View<'_, '_>) -> Result<Self, PickleError> {
        let mut rebuilt = top;
        // A parameter is a call around the call.
        if let Some(((_, "_rebuild_parameter"), args)) = top.call() {
            rebuilt = args.list()?.next().ok_or_else(|| args.unexpected("a tensor"))?;
        }
        let (function, args) = rebuilt.call().ok_or_else(|| rebuilt.unexpected("a tensor"))?;
        let args: Vec<_> = args.list()?.collect();
        let ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor_v3") = function else {
            return Err(rebuilt.unexpected("a tensor"));
        };
        let [storage, offset, size, strides, ..] = args[..] else {
            return Err(rebuilt.unexpected("a tensor with its storage, sizes and strides"));
        };
        let id: Vec<_> = storage.persistent()?.list()?.collect();
        let [kind, class, file, ..] = id[..] else {
            return Err(storage.unexpected("a storage with its class and file"));
        };
        if (kind.text()?, file.text()?) != ("storage", "0") {
            return Err(storage.unexpected("the storage in data/0"));
        }
        // The third version names the type itself, behind hooks.
        let dtype = match (function.1, args.get(6)) {
            ("_rebuild_tensor_v3", Some(dtype)) => types::dtype(dtype.global()?.1),
            _ => types::of_storage(class.global()?.1),
        };
        let (size, strides) = (size.dimensions()?, strides.dimensions()?);
        Ok(Tensor { dtype, offset: offset.count()?, size, strides })
    }

    fn is_contiguous(&self) -> bool {
        if self.size.contains(&0) {
            return true;
        }
        let mut expected = 1usize;
        self.size.len() == self.strides.len()
            && self.size.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
                // The stride along a single index says nothing.
                let fits = size == 1 || stride == expected;
                expected = expected.saturating_mul(size);
                fits
            })
    }
}

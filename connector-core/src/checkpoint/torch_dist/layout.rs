use super::metadata::{self, Chunk, Place, Stored};
use super::stack::{Stack, StackError, extra_states, stacks};
use super::{DistOptions, record};
use crate::base::Advice;
use crate::checkpoint::safetensors::OutputTensor;
use crate::checkpoint::torch::pickle::Writer;
use crate::checkpoint::torch::types;
use crate::checkpoint::torch::zip::{Frame, frame, objects};
use crate::store::{Dtype, Part};
use std::ops::Range;
use std::sync::Arc;

/// Records begin at a multiple of this, so that their tensors do in the file: a cache line.
const ALIGNMENT: u64 = 64;
/// The most bytes of a tensor in one record; a larger piece is cut along its rows. A record of
/// 4 GiB would take the long form of zip, and a rank that needs a part of a piece reads all of it.
const LARGEST_RECORD: u64 = 1 << 30;

/// What a record takes in memory, in bytes, and a state: their places, the CRCs of what is written, what
/// is read back. And how many times `.metadata` is there: as bytes, and read as values.
const PER_RECORD: u64 = 1500;
const PER_OBJECT: u64 = 400;
const METADATA_TIMES: u64 = 4;

/// Where every parameter of a checkpoint will lie, and every byte around them.
///
/// The same parameters make the same layout, byte for byte; what is not known before the parameters
/// are written are their CRCs.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(super) files: Vec<DistFile>,
    places: Vec<Vec<Part>>,
    pub(super) metadata: Vec<u8>,
    pub(super) common: Vec<u8>,
    /// What every state is.
    pub(super) object: Vec<u8>,
}

/// A `.distcp` file to be written.
#[derive(Clone, Debug)]
pub(crate) struct DistFile {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    pub(super) records: Vec<Record>,
    /// The first bytes of states.
    pub(super) objects: Vec<u64>,
}

/// A record around a piece of a parameter.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its first byte.
    pub start: u64,
    /// Pieces of one type and size have the same.
    pub frame: Arc<Frame>,
    /// Where the piece lies in the file.
    pub data: Range<u64>,
}

/// Parameters that no torch_dist checkpoint can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// They cannot be stacked.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// torch has no such type, or no class of storage for it.
    #[error("{name} is {dtype}, which torch_dist cannot hold; {}", Advice::WriteSafetensors)]
    Dtype {
        /// The parameter.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A single row is too large for a record, or the sum for a file.
    #[error("{name} is too large for torch_dist; {}", Advice::WriteSafetensors)]
    TooLarge {
        /// The parameter.
        name: String,
    },
}

impl LayoutError {
    /// What can be done about it.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            LayoutError::Stack(error) => error.advice(),
            LayoutError::Dtype { .. } | LayoutError::TooLarge { .. } => {
                Some(Advice::WriteSafetensors)
            }
        }
    }
}

impl Layout {
    /// Puts the parameters into files of at most `max_file_size` bytes, in the order given; a larger
    /// record gets a file of its own.
    ///
    /// # Errors
    /// If the parameters cannot be stacked, or torch cannot hold them.
    pub fn new(
        parameters: &[OutputTensor<'_>],
        max_file_size: u64,
        options: &DistOptions,
    ) -> Result<Self, LayoutError> {
        let stacks = stacks(parameters, options)?;
        let mut filling = Filling::new(parameters, max_file_size, options.files);
        let mut places = vec![Vec::new(); parameters.len()];
        let mut stored = Vec::with_capacity(stacks.len());
        for stack in &stacks {
            stored.push(filling.stack(stack, parameters, options.gated, &mut places)?);
        }
        let empty = objects(&{
            // A list of one: what Megatron-core wraps every object in.
            let mut pickle = Writer::new();
            pickle.list(|w| {
                w.none();
            });
            pickle.finish()
        });
        let states: Vec<_> =
            extra_states(&stacks).into_iter().map(|key| (key, filling.object(&empty))).collect();
        let files = filling.files;
        let metadata = metadata::write(&stored, &states);
        Ok(Layout { files, places, metadata, common: options.common.clone(), object: empty })
    }

    /// The files, at least one.
    pub fn files(&self) -> &[DistFile] {
        &self.files
    }

    /// What writing and reading back takes in memory, in bytes, beside what any container takes.
    pub(in crate::checkpoint) fn tables(&self) -> u64 {
        let of_file = |file: &DistFile| {
            PER_RECORD * file.records.len() as u64 + PER_OBJECT * file.objects.len() as u64
        };
        METADATA_TIMES * self.metadata.len() as u64 + self.files.iter().map(of_file).sum::<u64>()
    }

    /// The parts of each parameter in order, by its number.
    pub fn places(&self) -> &[Vec<Part>] {
        &self.places
    }
}

struct Filling {
    max_file_size: u64,
    /// How many files there should be.
    count: usize,
    /// The bytes of all tensors, and of those that have their places.
    total: u64,
    placed: u64,
    files: Vec<DistFile>,
}

impl Filling {
    fn new(parameters: &[OutputTensor<'_>], max_file_size: u64, count: usize) -> Self {
        let elements = |shape: &[usize]| {
            shape.iter().try_fold(1u64, |n, &dimension| n.checked_mul(dimension as u64))
        };
        let bytes = |p: &OutputTensor<'_>| elements(p.shape).and_then(|n| p.dtype.size(n));
        let total = parameters.iter().filter_map(bytes).fold(0, u64::saturating_add);
        Filling { max_file_size, count: count.max(1), total, placed: 0, files: Vec::new() }
    }

    /// Places the pieces of a stack; notes for each parameter where its bytes go.
    fn stack(
        &mut self,
        stack: &Stack,
        parameters: &[OutputTensor<'_>],
        gated: bool,
        places: &mut [Vec<Part>],
    ) -> Result<Stored, LayoutError> {
        let Stack { key, dtype, axes, inner, members } = stack;
        let name = || parameters[members[0]].name.to_string();
        let too_large = || LayoutError::TooLarge { name: name() };
        let Some((torch, _)) = types::names(*dtype) else {
            return Err(LayoutError::Dtype { name: name(), dtype: *dtype });
        };
        let of_row = inner.iter().skip(1).try_fold(1u64, |n, &dim| n.checked_mul(dim as u64));
        let row = of_row.and_then(|n| dtype.size(n)).ok_or_else(too_large)?;
        let gated = gated && key.contains("linear_fc1.") && !key.contains("layer_norm");
        let cuts = cuts(inner.first().copied(), row, gated).ok_or_else(too_large)?;
        let size = |rows: &Range<usize>| {
            let mut size = vec![1; axes.len()];
            // A scalar has no rows.
            if let Some((_, columns)) = inner.split_first() {
                size.push(rows.len());
                size.extend(columns);
            }
            size
        };
        let framed = |rows: &Range<usize>| {
            let pickle = record::pickle(*dtype, &size(rows))?;
            Some(Arc::new(frame(&pickle, u32::try_from(rows.len() as u64 * row).ok()?)))
        };
        let frames: Option<Vec<_>> = cuts.iter().map(framed).collect();
        let frames = frames.ok_or_else(too_large)?;
        let mut chunks = Vec::with_capacity(members.len() * cuts.len());
        for (nth, &member) in members.iter().enumerate() {
            let mut above = vec![0; axes.len()];
            let mut rest = nth;
            for (place, &len) in above.iter_mut().zip(axes).rev() {
                *place = rest % len;
                rest /= len;
            }
            places[member].reserve_exact(cuts.len());
            for (rows, frame) in cuts.iter().zip(&frames) {
                let mut start = above.clone();
                if !inner.is_empty() {
                    start.push(rows.start);
                    start.resize(axes.len() + inner.len(), 0);
                }
                let bytes = rows.len() as u64 * row;
                let (record, file, data) = self.record(frame, bytes).ok_or_else(too_large)?;
                places[member].push(Part { at: rows.start as u64 * row, file, offset: data });
                chunks.push(Chunk { start, size: size(rows), record: Some(record) });
            }
        }
        let shape = axes.iter().chain(inner).copied().collect();
        Ok(Stored { key: key.clone(), dtype: torch.into(), shape, chunks })
    }

    /// A record of `bytes` bytes of a tensor: its place, its file, and where in it the tensor goes.
    fn record(&mut self, frame: &Arc<Frame>, bytes: u64) -> Option<(Place, usize, u64)> {
        let length = frame.head.len() as u64 + bytes + frame.tail.len() as u64;
        let (file, start) = self.room(length, bytes)?;
        let data = start + frame.head.len() as u64;
        let open = &mut self.files[file];
        open.records.push(Record { start, frame: Arc::clone(frame), data: data..data + bytes });
        open.len = start + length;
        Some((Place { file: open.name.clone(), offset: start, length }, file, data))
    }

    /// A record of an object. It goes into the last file, whatever its size.
    fn object(&mut self, bytes: &[u8]) -> Place {
        let file = self.files.len().saturating_sub(1);
        if self.files.is_empty() {
            self.open();
        }
        let open = &mut self.files[file];
        let offset = open.len.next_multiple_of(ALIGNMENT);
        open.objects.push(offset);
        open.len = offset + bytes.len() as u64;
        Place { file: open.name.clone(), offset, length: bytes.len() as u64 }
    }

    /// A file with room for `length` bytes, of which `bytes` are a tensor's, and where they begin.
    ///
    /// The bytes of all tensors are cut into as many equal parts as there should be files, and a
    /// record goes where its middle is.
    fn room(&mut self, length: u64, bytes: u64) -> Option<(usize, u64)> {
        let middle = u128::from(self.placed) + u128::from(bytes / 2);
        let part = middle * self.count as u128 / u128::from(self.total.max(1));
        let is_due = part >= self.files.len() as u128;
        self.placed = self.placed.saturating_add(bytes);
        let next = |file: &DistFile| file.len.checked_next_multiple_of(ALIGNMENT);
        match self.files.last().map(next).filter(|_| !is_due) {
            Some(start) if start?.checked_add(length)? <= self.max_file_size => {
                Some((self.files.len() - 1, start?))
            }
            _ => {
                self.open();
                Some((self.files.len() - 1, 0))
            }
        }
    }

    /// A new file, with the name that Megatron-core gives those of the first rank.
    fn open(&mut self) {
        let name = format!("__0_{}.distcp", self.files.len());
        self.files.push(DistFile { name, len: 0, records: vec![], objects: vec![] });
    }
}

/// The rows of each piece of a parameter: halves if it is `gated`, and no piece larger than a
/// record may be. `None` if a single row is.
fn cuts(rows: Option<usize>, row: u64, gated: bool) -> Option<Vec<Range<usize>>> {
    let Some(rows) = rows else { return Some(std::iter::once(0..1).collect()) };
    if row > LARGEST_RECORD {
        return None;
    }
    let most = usize::try_from(LARGEST_RECORD / row.max(1)).unwrap_or(usize::MAX);
    let halves = if gated && rows.is_multiple_of(2) && rows > 0 { 2 } else { 1 };
    let half = rows / halves;
    let mut cuts = Vec::new();
    for start in (0..halves).map(|h| h * half) {
        let mut at = start;
        while at < start + half {
            let end = (start + half).min(at.saturating_add(most));
            cuts.push(at..end);
            at = end;
        }
    }
    Some(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_torch_has_no_storage_for_is_refused() {
        for dtype in [Dtype::F8E4M3, Dtype::F8E5M2, Dtype::U64, Dtype::F4] {
            let tensor = OutputTensor { name: "x.scale", dtype, shape: &[2, 2] };
            let error = Layout::new(&[tensor], 1 << 20, &DistOptions::default()).unwrap_err();
            assert!(error.to_string().contains("x.scale is"), "{error}");
            assert!(error.to_string().contains("write safetensors instead"), "{error}");
        }
    }

    #[test]
    fn pieces_are_halves_and_not_too_large() {
        let ranges = |rows, row, gated| cuts(rows, row, gated).unwrap();
        let ends = |rows, row, gated| -> Vec<_> {
            ranges(rows, row, gated).iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(ends(Some(6), 8, false), [(0, 6)]);
        assert_eq!(ends(Some(6), 8, true), [(0, 3), (3, 6)]);
        assert_eq!(ends(Some(5), 8, true), [(0, 5)]);
        assert_eq!(ends(Some(6), 1 << 29, true), [(0, 2), (2, 3), (3, 5), (5, 6)]);
        assert_eq!(ends(None, 8, true), [(0, 1)]);
        assert!(ranges(Some(0), 8, true).is_empty());
        assert!(cuts(Some(1), (1 << 30) + 1, false).is_none());
    }
}

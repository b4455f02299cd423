use super::Dtype;
use std::borrow::Cow;

/// The number of a file within a [`Source`](crate::store::Source), or of an output.
pub type FileId = usize;

/// A tensor as a container describes it: everything but its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The key.
    pub name: String,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The type of an element.
    pub dtype: Dtype,
    /// How the numbers are coded.
    pub encoding: Encoding,
    /// Where the numbers lie.
    pub pieces: Pieces,
}

/// Where a tensor's numbers lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// In one place, in row-major order, as in safetensors. Checkpoints have 100,000 of these.
    Whole {
        /// The file that holds them.
        file: FileId,
        /// Where in the file the first one lies, in bytes.
        offset: u64,
    },
    /// In boxes that tile the tensor, as in torch_dist.
    Boxes(Vec<Piece>),
}

/// How a tensor's numbers are coded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// The elements are the numbers.
    Raw,
    /// The elements are multiplied by a scale per block, which another tensor holds (FP8, MXFP4).
    BlockScaled {
        /// The key of the tensor of scales.
        scales: String,
        /// The size of a block along each dimension.
        block: Vec<usize>,
    },
}

/// A box of a tensor that lies in one place, in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The file that holds it.
    pub file: FileId,
    /// Where in the file its first element lies, in bytes.
    pub offset: u64,
    /// The box's first index along each dimension.
    pub start: Vec<usize>,
    /// The box's size along each dimension.
    pub size: Vec<usize>,
}

/// A run of a tensor's elements that lies together in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The file.
    pub file: FileId,
    /// The first byte in the file.
    pub offset: u64,
    /// The number of elements.
    pub len: u64,
}

/// Runs of a tensor's elements, equally long and equally far apart in the tensor, that lie one
/// behind the other in a file: rows of a box that is narrower than the tensor.
///
/// Training on several ranks cuts tensors along their columns. A box then is one of these, however
/// many rows it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The file.
    pub file: FileId,
    /// The first byte in the file.
    pub offset: u64,
    /// The first element, counted in row-major order of the tensor.
    pub at: u64,
    /// The number of elements in a row.
    pub len: u64,
    /// The number of rows.
    pub count: u64,
    /// How many elements of the tensor lie from the beginning of a row to that of the next.
    pub step: u64,
}

impl Pieces {
    /// Boxes of a tensor of this shape; a single one that is as large as the tensor is no box.
    pub fn new(boxes: Vec<Piece>, shape: &[usize]) -> Self {
        match boxes.as_slice() {
            [piece] if piece.size == shape => {
                Pieces::Whole { file: piece.file, offset: piece.offset }
            }
            _ => Pieces::Boxes(boxes),
        }
    }

    /// The file and the byte in it at which the first piece begins; `None` without any.
    pub fn first(&self) -> Option<(FileId, u64)> {
        match self {
            Pieces::Whole { file, offset } => Some((*file, *offset)),
            Pieces::Boxes(boxes) => boxes.first().map(|piece| (piece.file, piece.offset)),
        }
    }
}

impl TensorInfo {
    /// A raw tensor that lies whole at `offset` of `file`.
    pub fn whole(name: String, shape: Vec<usize>, dtype: Dtype, file: FileId, offset: u64) -> Self {
        let pieces = Pieces::Whole { file, offset };
        TensorInfo { name, shape, dtype, encoding: Encoding::Raw, pieces }
    }

    /// Its pieces as boxes, a whole one too.
    pub fn boxes(&self) -> Cow<'_, [Piece]> {
        match &self.pieces {
            Pieces::Boxes(boxes) => boxes.into(),
            &Pieces::Whole { file, offset } => {
                let (start, size) = (vec![0; self.shape.len()], self.shape.clone());
                vec![Piece { file, offset, start, size }].into()
            }
        }
    }

    /// The number of elements. Readers have checked that it fits.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }

    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.dtype.size(self.elements()).unwrap_or(0)
    }

    /// Where the elements from `from` on lie, `len` of them, in row-major order of the tensor.
    /// Elements that no piece covers are left out; readers refuse such tensors.
    pub fn runs(&self, from: u64, len: u64) -> Vec<Run> {
        let boxes = match &self.pieces {
            Pieces::Boxes(boxes) => boxes,
            &Pieces::Whole { file, offset } => {
                let offset = offset + from * self.dtype.bits() / 8;
                return vec![Run { file, offset, len }];
            }
        };
        let mut runs = Vec::new();
        let mut at = from;
        while at < from + len {
            let Some((piece, inside, left)) = self.locate(boxes, at) else { break };
            let take = left.min(from + len - at);
            let offset = piece.offset + inside * self.dtype.bits() / 8;
            match runs.last_mut() {
                Some(Run { file, offset: start, len })
                    if *file == piece.file && *start + *len * self.dtype.bits() / 8 == offset =>
                {
                    *len += take;
                }
                _ => runs.push(Run { file: piece.file, offset, len: take }),
            }
            at += take;
        }
        runs
    }

    /// The same elements as in [`runs`](TensorInfo::runs), box by box. In a box rows are in order, and
    /// they have the order of the file.
    pub fn rows(&self, from: u64, len: u64) -> Vec<Rows> {
        let boxes = match &self.pieces {
            Pieces::Boxes(boxes) => boxes,
            Pieces::Whole { .. } if len == 0 => return Vec::new(),
            &Pieces::Whole { file, offset } => {
                let offset = offset + from * self.dtype.bits() / 8;
                return vec![Rows { file, offset, at: from, len, count: 1, step: self.elements() }];
            }
        };
        let mut rows = Vec::new();
        for piece in boxes.iter().filter(|piece| !piece.size.contains(&0)) {
            self.rows_of(piece, from, from + len, &mut rows);
        }
        rows
    }

    /// The rows of a piece that lie from element `from` to `end`.
    fn rows_of(&self, piece: &Piece, from: u64, end: u64, rows: &mut Vec<Rows>) {
        let product = |dimensions: &[usize]| dimensions.iter().map(|&n| n as u64).product::<u64>();
        // What is behind the last dimension that the box cuts lies together.
        let cut = |d: &usize| piece.size[*d] != self.shape[*d];
        let cut = (0..self.shape.len()).rev().find(cut).unwrap_or(0);
        let len = product(&piece.size[cut..]);
        let (outer, count) = match cut.checked_sub(1) {
            Some(dimension) => (dimension, piece.size[dimension] as u64),
            None => (0, 1),
        };
        let step = product(&self.shape[cut..]);
        let bytes = |elements: u64| elements * self.dtype.bits() / 8;
        for number in 0..product(&piece.size[..outer]) {
            // The box's first element at these outer indices.
            let (mut at, mut rest) = (0, number);
            for dimension in (0..self.shape.len()).rev() {
                let mut index = piece.start[dimension] as u64;
                if dimension < outer {
                    index += rest % piece.size[dimension] as u64;
                    rest /= piece.size[dimension] as u64;
                }
                at += index * product(&self.shape[dimension + 1..]);
            }
            let offset = piece.offset + bytes(number * count * len);
            let all = Rows { file: piece.file, offset, at, len, count, step };
            rows.extend(all.within(from, end, bytes));
        }
    }

    /// The box that holds element `at`, the element's number inside it, and how many elements follow
    /// it there in the tensor's own order, itself included.
    fn locate<'b>(&self, boxes: &'b [Piece], at: u64) -> Option<(&'b Piece, u64, u64)> {
        let mut index = vec![0u64; self.shape.len()];
        let mut rest = at;
        for (dimension, &len) in self.shape.iter().enumerate().rev() {
            index[dimension] = rest % len as u64;
            rest /= len as u64;
        }
        let piece = boxes.iter().find(|piece| {
            let ranges = piece.start.iter().zip(&piece.size).zip(&index);
            ranges.into_iter().all(|((&start, &size), &i)| {
                (start as u64..start as u64 + size as u64).contains(&i)
            })
        })?;
        let mut inside = 0;
        for (dimension, &size) in piece.size.iter().enumerate() {
            inside = inside * size as u64 + (index[dimension] - piece.start[dimension] as u64);
        }
        // A row of the box goes on into the next only where the box is as wide as the tensor.
        let (mut left, mut block) = (0, 1);
        for (dimension, &size) in piece.size.iter().enumerate().rev() {
            let ahead = (piece.start[dimension] + size) as u64 - index[dimension] - 1;
            left += ahead * block;
            block *= size as u64;
            if size != self.shape[dimension] {
                break;
            }
        }
        Some((piece, inside, left + 1))
    }
}

impl Rows {
    /// The rows that lie between two elements: those that are whole, and before and behind them what
    /// is inside of those that are cut.
    fn within(self, from: u64, end: u64, bytes: impl Fn(u64) -> u64) -> impl Iterator<Item = Rows> {
        let Rows { at, len, count, step, .. } = self;
        let step = step.max(1);
        // The first row that ends behind `from`, and the first that begins at `end` or behind it.
        let begun = |limit: u64| limit.saturating_sub(at).div_ceil(step).min(count);
        let first = (from + 1).saturating_sub(at + len).div_ceil(step).min(count);
        let last = begun(end).max(first);
        let row = move |number: u64| {
            let start = at + number * step;
            (start.max(from), (start + len).min(end))
        };
        let is_cut = move |number: u64| {
            let (start, stop) = row(number);
            stop - start < len
        };
        let head = first + u64::from(first < last && is_cut(first));
        let tail = last - u64::from(head < last && is_cut(last - 1));
        let part = move |numbers: std::ops::Range<u64>| {
            let (start, stop) = row(numbers.start);
            let skipped = numbers.start * len + (start - (at + numbers.start * step));
            let offset = self.offset + bytes(skipped);
            let count = numbers.end - numbers.start;
            Rows { offset, at: start, len: stop - start, count, ..self }
        };
        let ranges = [first..head, head..tail, tail..last];
        ranges.into_iter().filter(|range| !range.is_empty()).map(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts a shape into a grid of boxes that lie one behind the other in a file.
    fn grid(shape: &[usize], cuts: &[usize]) -> TensorInfo {
        let mut tensor = TensorInfo::whole("x".into(), shape.to_vec(), Dtype::F32, 0, 0);
        let mut boxes = Vec::new();
        let counts: Vec<usize> = shape.iter().zip(cuts).map(|(n, cut)| n.div_ceil(*cut)).collect();
        let mut offset = 1000;
        for number in 0..counts.iter().product::<usize>() {
            let (mut start, mut size, mut rest) = (vec![], vec![], number);
            for ((&len, &cut), &count) in shape.iter().zip(cuts).zip(&counts) {
                let first = rest % count * cut;
                rest /= count;
                start.push(first);
                size.push(cut.min(len - first));
            }
            let bytes = 4 * size.iter().product::<usize>() as u64;
            boxes.push(Piece { file: 0, offset, start, size });
            offset += bytes;
        }
        tensor.pieces = Pieces::new(boxes, shape);
        tensor
    }

    /// For each element of a range the byte that it begins at.
    fn by_runs(tensor: &TensorInfo, from: u64, len: u64) -> Vec<u64> {
        let run = |run: Run| (0..run.len).map(move |n| run.offset + 4 * n);
        tensor.runs(from, len).into_iter().flat_map(run).collect()
    }

    fn by_rows(tensor: &TensorInfo, from: u64, len: u64) -> Vec<u64> {
        let mut places = vec![0; len as usize];
        for Rows { offset, at, len, count, step, .. } in tensor.rows(from, len) {
            for (row, element) in (0..count).flat_map(|row| (0..len).map(move |n| (row, n))) {
                let place = &mut places[(at + row * step + element - from) as usize];
                assert_eq!(std::mem::replace(place, offset + 4 * (row * len + element)), 0);
            }
        }
        places
    }

    proptest! {
        #[test]
        fn rows_are_the_same_elements_as_runs(
            dimensions in proptest::collection::vec((1usize..6, 1usize..6), 0..4),
            from in 0.0..1.0f64,
            len in 0.0..1.0f64,
        ) {
            let (shape, cuts): (Vec<_>, Vec<_>) = dimensions.into_iter().unzip();
            let tensor = grid(&shape, &cuts);
            let all = tensor.elements();
            prop_assert_eq!(by_rows(&tensor, 0, all), by_runs(&tensor, 0, all));
            let from = (from * all as f64) as u64;
            let len = (len * (all - from) as f64) as u64;
            prop_assert_eq!(by_rows(&tensor, from, len), by_runs(&tensor, from, len));
        }
    }

    #[test]
    fn a_box_is_one_entry_however_many_rows_it_has() {
        let tensor = grid(&[1 << 20, 64], &[1 << 20, 16]);
        let rows = tensor.rows(0, tensor.elements());
        let want = |rank: u64| Rows {
            file: 0,
            offset: 1000 + rank * (64 << 20),
            at: rank * 16,
            len: 16,
            count: 1 << 20,
            step: 64,
        };
        assert_eq!(rows, [want(0), want(1), want(2), want(3)]);
        // Whole rows are one run.
        let whole = grid(&[8, 64], &[4, 64]).rows(64, 64 * 6);
        assert_eq!(
            whole.iter().map(|r| (r.len, r.count)).collect::<Vec<_>>(),
            [(192, 1), (192, 1)]
        );
    }

    #[test]
    fn a_tiling_of_boxes_gives_every_element_in_order() {
        // 2 x 4 of U8 as two boxes of 2 x 2 in one file: columns 0-1 first, then columns 2-3.
        let mut tensor = TensorInfo::whole("x".into(), vec![2, 4], Dtype::U8, 0, 0);
        let piece = |offset, start, size| Piece { file: 0, offset, start, size };
        let boxes = vec![piece(0, vec![0, 0], vec![2, 2]), piece(4, vec![0, 2], vec![2, 2])];
        tensor.pieces = Pieces::Boxes(boxes);
        let run = |offset, len| Run { file: 0, offset, len };
        assert_eq!(tensor.runs(0, 8), [run(0, 2), run(4, 2), run(2, 2), run(6, 2)]);
        assert_eq!(tensor.runs(3, 2), [run(5, 1), run(2, 1)]);
        // Two boxes of whole rows, one behind the other, are one run.
        let boxes = vec![piece(0, vec![0, 0], vec![1, 4]), piece(4, vec![1, 0], vec![1, 4])];
        tensor.pieces = Pieces::Boxes(boxes);
        assert_eq!(tensor.runs(0, 8), [run(0, 8)]);
        assert_eq!(tensor.runs(2, 4), [run(2, 4)]);
    }

    #[test]
    fn scalars_and_empty_tensors() {
        let scalar = TensorInfo::whole("x".into(), vec![], Dtype::F32, 0, 8);
        assert_eq!(scalar.runs(0, 1), [Run { file: 0, offset: 8, len: 1 }]);
        let empty = TensorInfo::whole("x".into(), vec![0, 4], Dtype::F32, 0, 8);
        assert_eq!((empty.elements(), empty.bytes()), (0, 0));
    }
}

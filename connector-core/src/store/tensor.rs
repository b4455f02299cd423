use super::Dtype;

/// The number of a file within a [`Source`](super::Source) or a [`Sink`](super::Sink).
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
    /// Where the numbers lie. One piece for safetensors; a tiling of boxes for torch_dist.
    pub pieces: Vec<Piece>,
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

impl TensorInfo {
    /// A raw tensor that lies whole at `offset` of `file`.
    pub fn whole(name: String, shape: Vec<usize>, dtype: Dtype, file: FileId, offset: u64) -> Self {
        let piece = Piece { file, offset, start: vec![0; shape.len()], size: shape.clone() };
        TensorInfo { name, shape, dtype, encoding: Encoding::Raw, pieces: vec![piece] }
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
        if let [piece] = self.pieces.as_slice()
            && piece.size == self.shape
        {
            let offset = piece.offset + from * self.dtype.bits() / 8;
            return vec![Run { file: piece.file, offset, len }];
        }
        let mut runs = Vec::new();
        let mut at = from;
        while at < from + len {
            let Some((piece, inside, left)) = self.locate(at) else { break };
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

    /// The piece that holds element `at`, the element's number inside it, and how many elements
    /// follow it there in the tensor's own order, itself included.
    fn locate(&self, at: u64) -> Option<(&Piece, u64, u64)> {
        let mut index = vec![0u64; self.shape.len()];
        let mut rest = at;
        for (dimension, &len) in self.shape.iter().enumerate().rev() {
            index[dimension] = rest % len as u64;
            rest /= len as u64;
        }
        let piece = self.pieces.iter().find(|piece| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiling_of_boxes_gives_every_element_in_order() {
        // 2 x 4 of U8 as two boxes of 2 x 2 in one file: columns 0-1 first, then columns 2-3.
        let mut tensor = TensorInfo::whole("x".into(), vec![2, 4], Dtype::U8, 0, 0);
        let piece = |offset, start, size| Piece { file: 0, offset, start, size };
        tensor.pieces = vec![piece(0, vec![0, 0], vec![2, 2]), piece(4, vec![0, 2], vec![2, 2])];
        let run = |offset, len| Run { file: 0, offset, len };
        assert_eq!(tensor.runs(0, 8), [run(0, 2), run(4, 2), run(2, 2), run(6, 2)]);
        assert_eq!(tensor.runs(3, 2), [run(5, 1), run(2, 1)]);
        // Two boxes of whole rows, one behind the other, are one run.
        tensor.pieces = vec![piece(0, vec![0, 0], vec![1, 4]), piece(4, vec![1, 0], vec![1, 4])];
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

//! A tensor whose elements are not one behind the other: the transpose of a matrix, some of its
//! columns.

use crate::checkpoint::files::OpenFile;
use crate::store::{FileId, Result};

/// How much of a storage is read at once where elements lie apart.
const WINDOW: u64 = 64 << 10;

/// A view of a file in which such a tensor lies in row-major order.
#[derive(Debug)]
pub(super) struct Strided {
    /// The file.
    pub file: FileId,
    /// Where in the file the first element lies. Places in the view count from here.
    pub start: u64,
    /// The bytes of an element.
    size: u64,
    /// The dimensions, outermost first.
    dims: Vec<Dim>,
}

/// A dimension: how many indices it has, and how many elements apart they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dim {
    len: u64,
    stride: u64,
}

/// A dimension of a box, and how many elements apart its indices go.
#[derive(Clone, Copy)]
struct Side {
    len: u64,
    from: u64,
    to: u64,
}

impl Strided {
    /// The tensor of `shape` and `strides`, in elements of `size` bytes.
    pub fn new(file: FileId, start: u64, size: u64, shape: &[usize], strides: &[usize]) -> Self {
        let mut dims: Vec<Dim> = Vec::new();
        for (&len, &stride) in shape.iter().zip(strides) {
            let (len, stride) = (len as u64, stride as u64);
            match dims.last_mut() {
                _ if len == 1 => {}
                // The outer one goes on where the inner one ends: one dimension.
                Some(outer) if outer.stride == len * stride => {
                    *outer = Dim { len: outer.len * len, stride };
                }
                _ => dims.push(Dim { len, stride }),
            }
        }
        if dims.is_empty() {
            dims.push(Dim { len: 1, stride: 1 });
        }
        Strided { file, start, size, dims }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Io`](crate::store::Error::Io).
    pub fn read_at(&self, file: &OpenFile, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let from = offset.saturating_sub(self.start);
        let to = from + buffer.len() as u64;
        let (first, last) = (from / self.size, to.div_ceil(self.size));
        let elements: u64 = self.dims.iter().map(|dim| dim.len).product();
        if last > elements {
            let ends = std::io::ErrorKind::UnexpectedEof.into();
            return Err(crate::store::Error::io("read", &file.path)(ends));
        }
        if from.is_multiple_of(self.size) && to.is_multiple_of(self.size) {
            return self.elements(file, &self.dims, 0, first..last, buffer);
        }
        let mut whole = vec![0; ((last - first) * self.size) as usize];
        self.elements(file, &self.dims, 0, first..last, &mut whole)?;
        let skip = (from - first * self.size) as usize;
        buffer.copy_from_slice(&whole[skip..skip + buffer.len()]);
        Ok(())
    }

    /// A range of elements of the part that begins at element `origin`: the rest of a row, whole
    /// rows, the beginning of a row, each of which is a box.
    fn elements(
        &self,
        file: &OpenFile,
        dims: &[Dim],
        origin: u64,
        range: std::ops::Range<u64>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let Some((Dim { stride, .. }, inner)) = dims.split_first() else {
            return Ok(());
        };
        let row: u64 = inner.iter().map(|dim| dim.len).product();
        let mut at = range.start;
        let mut rest = buffer;
        while at < range.end {
            let (index, inside) = (at / row, at % row);
            let rows = (range.end - at) / row;
            let len = if inside == 0 && rows > 0 {
                rows * row
            } else {
                (row - inside).min(range.end - at)
            };
            let (here, behind) = rest.split_at_mut((len * self.size) as usize);
            let origin = origin + index * stride;
            if inside == 0 && rows > 0 {
                self.rectangle(file, origin, &[Dim { len: rows, stride: *stride }], inner, here)?;
            } else {
                self.elements(file, inner, origin, inside..inside + len, here)?;
            }
            (at, rest) = (at + len, behind);
        }
        Ok(())
    }

    /// A box, in the order of the file: the dimension with the smallest stride innermost.
    fn rectangle(
        &self,
        file: &OpenFile,
        origin: u64,
        outer: &[Dim],
        inner: &[Dim],
        buffer: &mut [u8],
    ) -> Result<()> {
        let mut sides = Vec::with_capacity(1 + inner.len());
        let mut to = 1;
        for Dim { len, stride } in outer.iter().chain(inner).rev() {
            sides.push(Side { len: *len, from: *stride, to });
            to *= len;
        }
        sides.sort_by_key(|side| side.from);
        let (line, others) = (sides[0], &sides[1..]);
        let mut index = vec![0; others.len()];
        loop {
            let place = |step: fn(&Side) -> u64| -> u64 {
                others.iter().zip(&index).map(|(side, at)| step(side) * at).sum()
            };
            let (from, to) = (origin + place(|side| side.from), place(|side| side.to));
            self.line(file, from, line, &mut buffer[(to * self.size) as usize..])?;
            // The next index, the innermost first.
            let mut turning = index.iter_mut().zip(others);
            let next = turning.find_map(|(at, side)| {
                *at += 1;
                if *at == side.len {
                    *at = 0;
                    return None;
                }
                Some(())
            });
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Elements at equal distances.
    fn line(&self, file: &OpenFile, from: u64, line: Side, buffer: &mut [u8]) -> Result<()> {
        let Side { len, from: stride, to } = line;
        let size = self.size as usize;
        let place = |element: u64| self.start + element * self.size;
        if stride == 1 && to == 1 {
            return file.read_at(place(from), &mut buffer[..len as usize * size]);
        }
        let most = match stride {
            0 => len,
            stride => (WINDOW / self.size - 1) / stride + 1,
        };
        let mut window = Vec::new();
        let mut done = 0;
        while done < len {
            let count = most.min(len - done);
            window.resize((((count - 1) * stride + 1) * self.size) as usize, 0);
            file.read_at(place(from + done * stride), &mut window)?;
            for i in 0..count {
                let (a, b) = ((i * stride) as usize * size, ((done + i) * to) as usize * size);
                buffer[b..b + size].copy_from_slice(&window[a..a + size]);
            }
            done += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// A file of the numbers 0, 1, 2 … in two bytes each.
    fn numbers(count: u16) -> OpenFile {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..count).flat_map(u16::to_le_bytes).collect();
        file.write_all(&bytes).unwrap();
        OpenFile::new(file, "numbers".into()).unwrap()
    }

    fn read(shape: &[usize], strides: &[usize], first: u64) -> Vec<u16> {
        let view = Strided::new(0, first * 2, 2, shape, strides);
        let mut bytes = vec![0; shape.iter().product::<usize>() * 2];
        view.read_at(&numbers(1000), first * 2, &mut bytes).unwrap();
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn views() {
        // [[0, 1, 2], [3, 4, 5]] transposed; its last two columns; its second column; one element
        // as a row.
        assert_eq!(read(&[3, 2], &[1, 3], 0), [0, 3, 1, 4, 2, 5]);
        assert_eq!(read(&[2, 2], &[3, 1], 1), [1, 2, 4, 5]);
        assert_eq!(read(&[2], &[3], 1), [1, 4]);
        assert_eq!(read(&[4], &[0], 7), [7, 7, 7, 7]);
        assert_eq!(read(&[1, 1], &[9, 9], 3), [3]);
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        let view = Strided::new(0, 0, 2, &[2, 2], &[1, 2]);
        let error = view.read_at(&numbers(4), 2, &mut [0; 8]).unwrap_err().to_string();
        assert!(error.contains("numbers"), "{error}");
    }

    proptest! {
        #[test]
        fn any_part_of_any_view_is_what_counting_gives(
            dims in proptest::collection::vec((1usize..5, 0usize..9), 1..4),
            cut in (0.0f64..1.0, 0.0f64..1.0),
        ) {
            let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
            let view = Strided::new(0, 10, 2, &shape, &strides);
            let count: usize = shape.iter().product();
            let mut want = Vec::new();
            for number in 0..count {
                let (mut rest, mut at) = (number, 5);
                for (&len, &stride) in shape.iter().zip(&strides).rev() {
                    at += rest % len * stride;
                    rest /= len;
                }
                want.extend((at as u16).to_le_bytes());
            }
            // Odd bytes too: nobody promises whole elements.
            let bytes = count * 2;
            let (a, b) = ((cut.0 * bytes as f64) as usize, (cut.1 * bytes as f64) as usize);
            let (a, b) = (a.min(b), a.max(b));
            let mut got = vec![0; b - a];
            view.read_at(&numbers(1000), 10 + a as u64, &mut got).unwrap();
            prop_assert_eq!(&got[..], &want[a..b]);
        }
    }
}

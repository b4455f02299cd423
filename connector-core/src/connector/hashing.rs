//! Hashes of tensors, taken while they are written: a tensor need not be read a second time.

use crate::store::{self, FileId, Part, Sink};
use blake3::{Hash, Hasher};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A sink that hashes what passes through it on the way to another.
///
/// It knows the hash of a tensor whose bytes came from first to last. Others have to be read: those
/// that two threads shared, or of which the kernel copied or shared some.
pub(super) struct Hashing<'a> {
    sink: &'a dyn Sink,
    /// Where tensors lie in each file, in its order.
    files: Vec<Vec<Piece>>,
    tensors: Vec<Tensor>,
}

/// Bytes of a tensor that lie together.
struct Piece {
    offset: u64,
    len: u64,
    tensor: usize,
    /// Where they begin in the tensor.
    at: u64,
}

struct Tensor {
    bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// No byte has come.
    #[default]
    New,
    Begun(Box<Hasher>),
    Known(Hash),
    OutOfOrder,
}

impl<'a> Hashing<'a> {
    /// `tensors` has the parts of each tensor and the number of its bytes.
    pub fn new(
        sink: &'a dyn Sink,
        tensors: impl ExactSizeIterator<Item = (&'a [Part], u64)>,
    ) -> Self {
        let mut all = Vec::with_capacity(tensors.len());
        let mut files: Vec<Vec<Piece>> = Vec::new();
        for (tensor, (parts, bytes)) in tensors.enumerate() {
            all.push(Tensor { bytes, state: Mutex::default() });
            let ends = parts.iter().skip(1).map(|part| part.at).chain([bytes]);
            for (&Part { at, file, offset }, end) in parts.iter().zip(ends) {
                if files.len() <= file {
                    files.resize_with(file + 1, Vec::new);
                }
                // An empty one begins where another does.
                if end > at {
                    files[file].push(Piece { offset, len: end - at, tensor, at });
                }
            }
        }
        files.iter_mut().for_each(|pieces| pieces.sort_unstable_by_key(|piece| piece.offset));
        Hashing { sink, files, tensors: all }
    }

    /// The hashes that are known, by tensor.
    pub fn known(self) -> Vec<Option<Hash>> {
        let known = |tensor: Tensor| match tensor.state.into_inner() {
            Ok(State::Known(hash)) => Some(hash),
            _ => None,
        };
        self.tensors.into_iter().map(known).collect()
    }

    /// Hashes `bytes` that lie at `offset` of a file.
    fn pass(&self, file: FileId, mut offset: u64, mut bytes: &[u8]) {
        let Some(pieces) = self.files.get(file) else { return };
        let first = pieces.partition_point(|piece| piece.offset + piece.len <= offset);
        for piece in &pieces[first..] {
            // What lies between tensors is none's.
            let between = piece.offset.saturating_sub(offset).min(bytes.len() as u64);
            (offset, bytes) = (offset + between, &bytes[between as usize..]);
            if bytes.is_empty() {
                return;
            }
            let inside = offset - piece.offset;
            let (here, rest) = bytes.split_at(bytes.len().min((piece.len - inside) as usize));
            self.tensors[piece.tensor].pass(piece.at + inside, here);
            (offset, bytes) = (offset + here.len() as u64, rest);
        }
    }
}

impl Tensor {
    /// Hashes its bytes from `at` on, if they are the next ones.
    fn pass(&self, at: u64, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hasher = match std::mem::replace(&mut *state, State::OutOfOrder) {
            State::New => Box::default(),
            State::Begun(hasher) => hasher,
            State::Known(_) | State::OutOfOrder => return,
        };
        if hasher.count() != at {
            return;
        }
        hasher.update(bytes);
        let done = hasher.count() == self.bytes;
        *state = if done { State::Known(hasher.finalize()) } else { State::Begun(hasher) };
    }
}

impl Sink for Hashing<'_> {
    fn path(&self, file: FileId) -> PathBuf {
        self.sink.path(file)
    }

    fn admit(&self, file: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        self.sink.admit(file, offset, bytes)?;
        self.pass(file, offset, bytes);
        Ok(())
    }

    fn write_at(&self, file: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        self.sink.write_at(file, offset, bytes)?;
        self.pass(file, offset, bytes);
        Ok(())
    }

    fn sync(&self, file: FileId) -> store::Result<()> {
        self.sink.sync(file)
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.sink.local_file(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything.
    struct Any;

    impl Sink for Any {
        fn path(&self, _: FileId) -> PathBuf {
            PathBuf::new()
        }
        fn admit(&self, _: FileId, _: u64, _: &[u8]) -> store::Result<()> {
            Ok(())
        }
        fn write_at(&self, _: FileId, _: u64, _: &[u8]) -> store::Result<()> {
            Ok(())
        }
        fn sync(&self, _: FileId) -> store::Result<()> {
            Ok(())
        }
        fn local_file(&self, _: FileId) -> Option<&File> {
            None
        }
    }

    /// Of a tensor of 10 bytes at 100 of file 0, and one of 6 at 112 of it and, from its fifth byte
    /// on, at 0 of file 1, whose hashes are known after these writes: file, place, number of bytes.
    fn known(writes: &[(FileId, u64, usize)]) -> [bool; 2] {
        let bytes = |file: FileId, at: u64| (file as u8 * 100).wrapping_add(at as u8);
        let parts = [Part::whole(0, 100), vec![part(0, 0, 112), part(4, 1, 0)]];
        let tensors = parts.iter().map(Vec::as_slice).zip([10, 6]);
        let hashing = Hashing::new(&Any, tensors);
        for &(file, offset, len) in writes {
            let bytes: Vec<u8> = (offset..).take(len).map(|at| bytes(file, at)).collect();
            hashing.write_at(file, offset, &bytes).unwrap();
        }
        let first: Vec<u8> = (100..110).map(|at| bytes(0, at)).collect();
        let second = [bytes(0, 112), bytes(0, 113), bytes(0, 114), bytes(0, 115)];
        let second = [&second[..], &[bytes(1, 0), bytes(1, 1)]].concat();
        let known = hashing.known();
        let want = [blake3::hash(&first), blake3::hash(&second)];
        [0, 1].map(|tensor| {
            assert!(known[tensor].is_none_or(|hash| hash == want[tensor]), "{writes:?}");
            known[tensor].is_some()
        })
    }

    fn part(at: u64, file: FileId, offset: u64) -> Part {
        Part { at, file, offset }
    }

    #[test]
    fn what_comes_from_first_to_last_is_known() {
        for (writes, want) in [
            (&[(0, 100, 10)][..], [true, false]),
            (&[(0, 100, 3), (0, 103, 7)], [true, false]),
            (&[(0, 98, 20), (1, 0, 2)], [true, true]),
            (&[(0, 100, 16), (1, 0, 1), (1, 1, 1)], [true, true]),
            (&[(0, 105, 9), (0, 114, 2), (0, 100, 5), (1, 0, 2)], [false, true]),
            (&[(1, 0, 2), (0, 112, 4)], [false, false]),
            (&[(0, 103, 7), (0, 100, 3)], [false, false]),
            (&[(0, 100, 3), (0, 100, 3), (0, 103, 7)], [false, false]),
            (&[(0, 100, 10), (0, 100, 10)], [false, false]),
            (&[(0, 100, 9)], [false, false]),
            (&[(2, 100, 10), (0, 0, 50)], [false, false]),
        ] {
            assert_eq!(known(writes), want, "{writes:?}");
        }
    }

    /// It begins where another does, and in the list before or behind it.
    #[test]
    fn an_empty_tensor_is_passed_over() {
        for sizes in [[10, 0, 5], [0, 10, 5]] {
            let mut offset = 100;
            let places = sizes.map(|size| {
                let part = Part::whole(0, if size == 0 { 100 } else { offset });
                offset += size;
                part
            });
            let tensors = places.iter().map(Vec::as_slice).zip(sizes);
            let hashing = Hashing::new(&Any, tensors);
            hashing.write_at(0, 100, &[7; 15]).unwrap();
            let want = sizes.map(|n| (n > 0).then(|| blake3::hash(&[7; 15][..n as usize])));
            assert_eq!(hashing.known(), want);
        }
    }
}

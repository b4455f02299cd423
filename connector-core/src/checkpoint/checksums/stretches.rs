//! CRCs of records whose bytes are read or written in any order, on several threads.

use crate::checkpoint::torch::zip::Crc;
use std::ops::Range;

/// How many stretches that do not touch are kept of a record: each thread has one or a few of them, and
/// the heads of an attention are one each until those between them have come. Where a record is made
/// of many short rows, its CRC is computed from the file instead.
const MOST: usize = 256;

/// The CRCs of the stretches of a record that have been read, or written.
#[derive(Debug, Default)]
pub(in crate::checkpoint) struct Stretches {
    /// In the order of the file.
    all: Vec<Stretch>,
    /// Bytes came twice, or in too many places: only the file can tell.
    given_up: bool,
}

#[derive(Debug)]
struct Stretch {
    start: u64,
    crc: Crc,
}

impl Stretch {
    fn end(&self) -> u64 {
        self.start + self.crc.total_len()
    }
}

impl Stretches {
    /// Adds the CRC of bytes from `start` on.
    pub fn add(&mut self, start: u64, crc: Crc) {
        let mut new = Stretch { start, crc };
        if self.given_up || new.crc.total_len() == 0 {
            return;
        }
        let at = self.all.partition_point(|stretch| stretch.start < start);
        let (before, behind) = self.all.split_at(at);
        let (before, behind) = (before.last().map(Stretch::end), behind.first());
        if before.is_some_and(|end| end > start) || behind.is_some_and(|b| b.start < new.end()) {
            self.give_up();
            return;
        }
        if behind.is_some_and(|behind| behind.start == new.end()) {
            new.crc.combine(&self.all.remove(at).crc);
        }
        if before == Some(start) {
            self.all[at - 1].crc.combine(&new.crc);
        } else if self.all.len() == MOST {
            self.give_up();
        } else {
            if self.all.is_empty() {
                // The only one of most records, of which there may be a hundred thousand.
                self.all.reserve_exact(1);
            }
            self.all.insert(at, new);
        }
    }

    /// Leaves it to the file, because bytes went past unseen.
    pub fn give_up(&mut self) {
        *self = Stretches { all: Vec::new(), given_up: true };
    }

    /// Whether nothing has come, seen or unseen.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && !self.given_up
    }

    /// The CRC of `data`, if every byte of it, and no other, came once.
    pub fn of(&self, data: &Range<u64>) -> Option<u32> {
        let [all] = self.all.as_slice() else { return None };
        (all.start == data.start && all.end() == data.end).then(|| all.crc.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: &[u8] = b"stretches of a record, in any order of the threads that take them";

    /// What is known after these ranges of [`BYTES`] came.
    fn known(ranges: &[(usize, usize)]) -> Option<u32> {
        let mut stretches = Stretches::default();
        for &(start, end) in ranges {
            let mut crc = Crc::new();
            crc.update(&BYTES[start..end]);
            stretches.add(start as u64, crc);
        }
        stretches.of(&(0..BYTES.len() as u64))
    }

    #[test]
    fn only_what_came_once_and_whole_is_known() {
        let (len, whole) = (BYTES.len(), Some(crc32fast::hash(BYTES)));
        for (ranges, want) in [
            (&[(0, len)][..], whole),
            (&[(0, 3), (3, len)], whole),
            (&[(3, len), (0, 3)], whole),
            (&[(0, 3), (20, len), (3, 20), (5, 5)], whole),
            (&[], None),
            (&[(0, 3), (4, len)], None),
            (&[(1, len)], None),
            (&[(0, len), (4, 5)], None),
            (&[(4, 5), (0, len)], None),
            (&[(0, 3), (2, len)], None),
            (&[(2, len), (0, 3)], None),
        ] {
            assert_eq!(known(ranges), want, "{ranges:?}");
        }
    }

    #[test]
    fn too_many_stretches_are_not_kept() {
        let mut stretches = Stretches::default();
        for n in 0..=MOST as u64 {
            let mut crc = Crc::new();
            crc.update(b"x");
            stretches.add(2 * n, crc);
            assert_eq!(stretches.all.len(), if n < MOST as u64 { n as usize + 1 } else { 0 });
        }
        assert!(stretches.given_up);
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same(mut cuts in proptest::collection::vec(0..BYTES.len(), 0..9),
                                    order in any::<u64>()) {
            cuts.extend([0, BYTES.len()]);
            cuts.sort_unstable();
            let mut ranges: Vec<_> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
            ranges.sort_by_key(|&(start, _)| order.rotate_left(start as u32));
            prop_assert_eq!(known(&ranges), Some(crc32fast::hash(BYTES)));
        }
    }
}

//! A vector in blocks that never move.

/// Values one behind the other. A vector that grows is there twice while it moves; of this at most a
/// block is unused, and the list of blocks moves, which is small.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<T> {
    blocks: Vec<Vec<T>>,
}

/// How many values a block has.
const BLOCK: usize = 1 << 14;
/// How many the first one has room for in the beginning: many lists stay short.
const FEW: usize = 64;

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Blocks { blocks: Vec::new() }
    }
}

impl<T: Copy> Blocks<T> {
    pub fn len(&self) -> usize {
        let before = self.blocks.len().saturating_sub(1) * BLOCK;
        before + self.blocks.last().map_or(0, Vec::len)
    }

    /// The value at `at`, which is there.
    pub fn get(&self, at: usize) -> T {
        self.blocks[at / BLOCK][at % BLOCK]
    }

    /// The place of the value at `at`, which is there.
    pub fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.blocks[at / BLOCK][at % BLOCK]
    }

    pub fn push(&mut self, value: T) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(value),
            _ => {
                let room = if self.blocks.is_empty() { FEW } else { BLOCK };
                let mut block = Vec::with_capacity(room);
                block.push(value);
                self.blocks.push(block);
            }
        }
    }

    /// The values in a range, which are there.
    #[cfg(feature = "train")]
    pub fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = T> {
        range.map(|at| self.get(at))
    }

    /// Leaves the first `len`.
    #[cfg(feature = "train")]
    pub fn truncate(&mut self, len: usize) {
        self.blocks.truncate(len.div_ceil(BLOCK));
        if let Some(last) = self.blocks.last_mut() {
            last.truncate(len - (len.div_ceil(BLOCK) - 1) * BLOCK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_where_they_were_put() {
        let mut blocks = Blocks::default();
        for len in [0, 1, FEW, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            (blocks.len()..len).for_each(|value| blocks.push(value));
            assert_eq!(blocks.len(), len);
            assert!((0..len).all(|at| blocks.get(at) == at));
        }
        *blocks.get_mut(BLOCK) = 7;
        assert_eq!(blocks.get(BLOCK), 7);
    }

    #[cfg(feature = "train")]
    #[test]
    fn what_is_cut_off_is_written_anew() {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let mut blocks = Blocks::default();
            (0..2 * BLOCK + 3).for_each(|value| blocks.push(value));
            blocks.truncate(len);
            assert_eq!(blocks.len(), len);
            blocks.push(usize::MAX);
            let want: Vec<_> = (0..len).chain([usize::MAX]).collect();
            assert_eq!(blocks.range(0..len + 1).collect::<Vec<_>>(), want);
        }
    }
}

//! Examples packed into rows of equal length.

use super::tokens::Tokens;
use crate::base::blocks::Blocks;
use blake3::Hasher;
use std::ops::Range;

/// The most tokens, which take some 5 GiB of memory: a hundred times what fine-tuning takes.
pub(super) const MOST_TOKENS: usize = 1 << 30;

/// A row: what the model reads, what it is to say, and where one example ends and the next begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub inputs: Vec<u32>,
    /// For each input, the token that follows it.
    pub labels: Vec<u32>,
    /// Whether that token is learnt.
    pub learnt: Vec<bool>,
    /// The length of each example, or of its part that is in this row.
    pub lengths: Vec<usize>,
}

/// Rows of at most so many inputs, as places in one list of tokens: that takes four bytes for each.
///
/// A prompt with its answer stays whole; where the next one does not fit, a new row begins. A text
/// is cut wherever a row is full. An example that is longer than a row is cut, which the caller has
/// decided on.
#[derive(Debug)]
pub(super) struct Rows {
    seq_length: usize,
    /// Of one example after the other.
    tokens: Blocks<u32>,
    parts: Blocks<Part>,
    /// Where in `parts` each row ends.
    ends: Blocks<usize>,
    /// How many inputs are in the row that is being filled.
    filled: usize,
    /// Where in `tokens` the next input of a text is whose end has not come.
    next: usize,
}

/// What of an example is in a row: `len` inputs from `start` on. The tokens from `learnt_from` on are
/// learnt, where they follow an input.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u32,
    len: u32,
    learnt_from: u32,
}

impl Part {
    /// Where its inputs are.
    fn inputs(self) -> Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }

    /// How many of its inputs are followed by what is learnt.
    fn learnt(self) -> usize {
        (self.start + self.len + 1).saturating_sub(self.learnt_from.max(self.start + 1)) as usize
    }
}

impl Rows {
    pub fn new(seq_length: usize) -> Self {
        let (tokens, parts, ends) = (Blocks::default(), Blocks::default(), Blocks::default());
        Rows { seq_length, tokens, parts, ends, filled: 0, next: 0 }
    }

    /// Adds an example, or a part of a text. `false` if there are too many tokens.
    pub fn push(&mut self, tokens: &Tokens) -> bool {
        if tokens.ids.len() > MOST_TOKENS - self.tokens.len() {
            return false;
        }
        let start = if tokens.goes_on { self.next } else { self.tokens.len() };
        let learnt_from = self.tokens.len() + tokens.learnt_from;
        tokens.ids.iter().for_each(|&token| self.tokens.push(token));
        // The last token is only ever said.
        let count = (self.tokens.len() - start).saturating_sub(1);
        let mut from = 0;
        while from < count {
            let room = self.seq_length - self.filled;
            let whole = count.min(self.seq_length);
            if room == 0 || (!tokens.is_text && whole > room) {
                self.close();
                continue;
            }
            let len = room.min(count - from);
            self.add(start + from, len, learnt_from);
            from = if tokens.is_text { from + len } else { count };
        }
        self.next = start + count;
        true
    }

    /// Adds inputs to the row that is being filled.
    fn add(&mut self, start: usize, len: usize, learnt_from: usize) {
        self.filled += len;
        let (start, len, learnt_from) = (start as u32, len as u32, learnt_from as u32);
        let Range { start: first, end } = self.parts_of(self.len());
        if first < end {
            let last = self.parts.get_mut(end - 1);
            if last.start + last.len == start {
                // The text goes on.
                last.len += len;
                return;
            }
        }
        self.parts.push(Part { start, len, learnt_from });
    }

    /// Where in `parts` those of a row are. The row that is being filled is the one after the last.
    fn parts_of(&self, number: usize) -> Range<usize> {
        let end =
            |number| if number < self.len() { self.ends.get(number) } else { self.parts.len() };
        number.checked_sub(1).map_or(0, end)..end(number)
    }

    /// Ends the row that is being filled.
    pub fn close(&mut self) {
        self.filled = 0;
        let parts = self.parts_of(self.len());
        // A row of prompts alone teaches nothing.
        if self.parts.range(parts.clone()).all(|part| part.learnt() == 0) {
            self.parts.truncate(parts.start);
        } else {
            self.ends.push(self.parts.len());
        }
    }

    /// How many rows are ended.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn row(&self, number: usize) -> Row {
        let mut row = Row::default();
        for part in self.parts.range(self.parts_of(number)) {
            let inputs = part.inputs();
            let labels = inputs.start + 1..inputs.end + 1;
            row.learnt.extend(labels.clone().map(|at| at >= part.learnt_from as usize));
            row.lengths.push(inputs.len());
            row.labels.extend(self.tokens.range(labels));
            row.inputs.extend(self.tokens.range(inputs));
        }
        row
    }

    pub fn iter(&self) -> impl Iterator<Item = Row> {
        (0..self.len()).map(|number| self.row(number))
    }

    /// How many tokens are read, and how many of those behind them learnt.
    pub fn count(&self) -> (usize, usize) {
        let parts = || self.parts.range(0..self.parts.len());
        (parts().map(|part| part.len as usize).sum(), parts().map(Part::learnt).sum())
    }

    /// The largest token, read or learnt.
    pub fn largest_token(&self) -> u32 {
        let parts = self.parts.range(0..self.parts.len()).map(Part::inputs);
        let all = parts.flat_map(|inputs| self.tokens.range(inputs.start..inputs.end + 1));
        all.max().unwrap_or(0)
    }
}

/// A hash of all rows: tells whether a run goes on with the data that it began with.
pub(super) fn fingerprint(rows: &Rows) -> String {
    let mut hasher = Hasher::new();
    for row in rows.iter() {
        hasher.update(&(row.inputs.len() as u64).to_le_bytes());
        hasher.update(&(row.lengths.len() as u64).to_le_bytes());
        for &length in &row.lengths {
            hasher.update(&(length as u64).to_le_bytes());
        }
        for ((input, label), learnt) in row.inputs.iter().zip(&row.labels).zip(&row.learnt) {
            hasher.update(&input.to_le_bytes()).update(&label.to_le_bytes());
            hasher.update(&[u8::from(*learnt)]);
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(ids: Range<u32>, learnt_from: usize, is_text: bool) -> Tokens {
        Tokens { ids: ids.collect(), learnt_from, is_text, goes_on: false }
    }

    fn pack(examples: &[Tokens], seq_length: usize) -> Vec<Row> {
        let mut rows = Rows::new(seq_length);
        assert!(examples.iter().all(|tokens| rows.push(tokens)));
        rows.close();
        let (read, learnt) = rows.count();
        assert_eq!(read, rows.iter().map(|row| row.inputs.len()).sum::<usize>());
        assert_eq!(learnt, rows.iter().flat_map(|row| row.learnt).filter(|l| *l).count());
        let said = rows.iter().flat_map(|row| [row.inputs, row.labels].concat());
        assert_eq!(rows.largest_token(), said.max().unwrap_or(0));
        rows.iter().collect()
    }

    #[test]
    fn answers_stay_whole() {
        let examples = [tokens(0..4, 2, false), tokens(10..13, 1, false), tokens(20..22, 1, false)];
        let rows = pack(&examples, 4);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].inputs, [0, 1, 2]);
        assert_eq!(rows[0].labels, [1, 2, 3]);
        assert_eq!(rows[0].learnt, [false, true, true]);
        assert_eq!(rows[1].inputs, [10, 11, 20]);
        assert_eq!(rows[1].labels, [11, 12, 21]);
        assert_eq!(rows[1].lengths, [2, 1]);
    }

    #[test]
    fn texts_flow_from_row_to_row() {
        let rows = pack(&[tokens(0..6, 0, true), tokens(10..12, 0, true)], 4);
        let inputs: Vec<_> = rows.iter().map(|row| row.inputs.clone()).collect();
        assert_eq!(inputs, [vec![0, 1, 2, 3], vec![4, 10]]);
        assert_eq!(rows[1].labels, [5, 11]);
        assert_eq!(rows[1].lengths, [1, 1]);
    }

    #[test]
    fn what_is_longer_than_a_row_is_cut_and_prompts_alone_are_left_out() {
        let rows = pack(&[tokens(0..9, 2, false), tokens(10..19, 6, false)], 4);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].labels, [1, 2, 3, 4]);
    }

    #[test]
    fn a_text_in_parts_is_packed_as_the_whole() {
        let whole = tokens(0..40, 0, true);
        for cuts in [&[][..], &[1], &[39], &[4, 5, 6], &[8, 16, 17, 30]] {
            let mut rows = Rows::new(4);
            let ends = cuts.iter().copied().chain([40]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            for (from, to) in starts.zip(ends) {
                let part = tokens(from as u32..to as u32, 0, true);
                assert!(rows.push(&Tokens { goes_on: from > 0, ..part }));
            }
            rows.close();
            assert_eq!(
                rows.iter().collect::<Vec<_>>(),
                pack(std::slice::from_ref(&whole), 4),
                "{cuts:?}"
            );
        }
    }

    proptest! {
        /// Whatever the examples, every pair of input and label is of one example, once.
        #[test]
        fn nothing_is_lost_or_doubled(
            lengths in prop::collection::vec((1u32..12, any::<bool>()), 1..20),
            seq_length in 12usize..20,
        ) {
            let mut next = 0;
            let examples: Vec<_> = lengths.into_iter().map(|(len, is_text)| {
                next += len + 1;
                tokens(next - len - 1..next, 0, is_text)
            }).collect();
            let rows = pack(&examples, seq_length);
            let packed = rows.iter().flat_map(|row| row.inputs.iter().zip(&row.labels));
            let packed: Vec<_> = packed.map(|(a, b)| (*a, *b)).collect();
            let want = examples.iter().flat_map(|t| t.ids.windows(2).map(|w| (w[0], w[1])));
            let want: Vec<_> = want.collect();
            prop_assert_eq!(packed, want);
            prop_assert!(rows.iter().all(|row| row.inputs.len() <= seq_length));
            let sum = |row: &Row| row.lengths.iter().sum::<usize>();
            prop_assert!(rows.iter().all(|row| sum(row) == row.inputs.len()));
        }
    }
}

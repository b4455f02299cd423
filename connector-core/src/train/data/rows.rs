//! Examples packed into rows of equal length.

use super::tokens::Tokens;
use blake3::Hasher;

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

impl Row {
    /// Adds inputs and the tokens after them: `ids` from `from` on, `len` inputs.
    fn push(&mut self, tokens: &Tokens, from: usize, len: usize) {
        self.inputs.extend(&tokens.ids[from..from + len]);
        self.labels.extend(&tokens.ids[from + 1..=from + len]);
        self.learnt.extend((from + 1..=from + len).map(|at| at >= tokens.learnt_from));
        self.lengths.push(len);
    }
}

/// Packs examples into rows of at most `seq_length` inputs, in their order.
///
/// A prompt with its answer stays whole; where the next one does not fit, a new row begins. A text
/// is cut wherever a row is full. An example that is longer than a row is cut, which the caller has
/// decided on.
pub(super) fn pack<'a>(
    examples: impl IntoIterator<Item = &'a Tokens>,
    seq_length: usize,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = Row::default();
    for tokens in examples {
        // The last token is only ever said.
        let count = tokens.ids.len().saturating_sub(1);
        let mut from = 0;
        while from < count {
            let room = seq_length - row.inputs.len();
            let whole = count.min(seq_length);
            if room == 0 || (!tokens.is_text && whole > room) {
                rows.push(std::mem::take(&mut row));
                continue;
            }
            let len = room.min(count - from);
            row.push(tokens, from, len);
            from = if tokens.is_text { from + len } else { count };
        }
    }
    rows.push(row);
    // A row of prompts alone teaches nothing.
    rows.retain(|row| row.learnt.contains(&true));
    rows
}

/// A hash of all rows: tells whether a run goes on with the data that it began with.
pub(super) fn fingerprint(rows: &[Row]) -> String {
    let mut hasher = Hasher::new();
    for row in rows {
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

    fn tokens(ids: std::ops::Range<u32>, learnt_from: usize, is_text: bool) -> Tokens {
        Tokens { ids: ids.collect(), learnt_from, is_text }
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

//! What all layers of a kind share in one forward pass: where tokens are, and which keys each sees.

use super::spec::Reach;
use crate::gpt::Temperature;
use candle_core::{DType, Device, Result, Tensor};

/// Tokens that are computed together.
pub(super) struct Tokens<'a> {
    /// How many each sequence has before them.
    seen: usize,
    len: usize,
    /// For each row and token, where its document begins, if rows hold several.
    starts: Option<Vec<Vec<usize>>>,
    /// Whether all queries are to be taken together.
    whole: bool,
    device: &'a Device,
}

/// Which keys each query sees.
pub(super) struct Span {
    pub reach: Reach,
    pub blocks: Vec<Block>,
}

/// Some queries, and the keys that they see.
pub(super) struct Block {
    pub first: usize,
    pub len: usize,
    pub first_key: usize,
    pub keys: usize,
    /// `[queries, keys]`, or `[batch, 1, queries, keys]` where rows hold several documents: 0 for a key
    /// that a query sees, else -∞. `None` if they see all.
    pub mask: Option<Tensor>,
}

/// How many queries are taken together when no gradient is wanted. So the scores of a long prompt need
/// not be in memory at once, and of the keys after a block none is multiplied.
const BLOCK: usize = 256;

impl<'a> Tokens<'a> {
    /// `len` tokens that follow on `seen`. `packed` has, if rows hold several documents, the lengths
    /// of those of each row; a token sees only those of its own.
    pub fn new(
        (seen, len): (usize, usize),
        packed: Option<&[Vec<usize>]>,
        whole: bool,
        device: &'a Device,
    ) -> Self {
        let starts = packed.map(|rows| {
            let starts = rows.iter().map(|lengths| {
                let begins = lengths.iter().scan(0, |end, length| {
                    *end += length;
                    Some((*end - length, *length))
                });
                begins.flat_map(|(start, length)| std::iter::repeat_n(start, length)).collect()
            });
            starts.collect()
        });
        Tokens { seen, len, starts, whole, device }
    }

    /// Which keys each sees that reaches so far.
    pub fn span(&self, reach: Reach) -> Result<Span> {
        let Tokens { seen, len, .. } = *self;
        let step = if self.whole { len.max(1) } else { BLOCK };
        let blocks = (0..len).step_by(step).map(|first| {
            let len = step.min(len - first);
            let query = seen + first;
            // Of documents that begin anywhere, chunks do too.
            let first_key = match reach {
                Reach::Window(before) => query.saturating_sub(before),
                Reach::Chunk(size) if self.starts.is_none() => query - query % size,
                Reach::All | Reach::Chunk(_) => 0,
            };
            let keys = query + len - first_key;
            let sees = |start: Option<&Vec<usize>>, i: usize, j: usize| {
                let (query, key) = (query + i, first_key + j);
                let start = start.map_or(0, |start| start[query - seen]);
                let near = || match reach {
                    Reach::All => true,
                    Reach::Window(before) => query - key <= before,
                    Reach::Chunk(size) => (query - start) / size == (key - start) / size,
                };
                key <= query && key >= start && near()
            };
            let cells = |start| {
                (0..len * keys).map(move |cell| match sees(start, cell / keys, cell % keys) {
                    true => 0f32,
                    false => f32::NEG_INFINITY,
                })
            };
            let mask = (len > 1).then(|| match &self.starts {
                None => Tensor::from_vec(cells(None).collect(), (len, keys), self.device),
                Some(starts) => {
                    let all = starts.iter().flat_map(|start| cells(Some(start))).collect();
                    Tensor::from_vec(all, (starts.len(), 1, len, keys), self.device)
                }
            });
            Ok(Block { first, len, first_key, keys, mask: mask.transpose()? })
        });
        Ok(Span { reach, blocks: blocks.collect::<Result<Vec<Block>>>()? })
    }

    /// What queries are multiplied by, `[batch or 1, 1, tokens, 1]`.
    pub fn temperatures(&self, temperature: Temperature, dtype: DType) -> Result<Tensor> {
        let at = |position: usize| {
            let counted = position + usize::from(!temperature.everywhere);
            let turns = (counted as f64 / temperature.floor).floor();
            (turns.ln_1p() * temperature.scale + 1.0) as f32
        };
        let all: Vec<f32> = match &self.starts {
            None => (self.seen..self.seen + self.len).map(at).collect(),
            Some(rows) => {
                let of_row = |starts: &Vec<usize>| -> Vec<f32> {
                    starts.iter().enumerate().map(|(token, start)| at(token - start)).collect()
                };
                rows.iter().flat_map(of_row).collect()
            }
        };
        let rows = all.len() / self.len.max(1);
        Tensor::from_vec(all, (rows, 1, self.len, 1), self.device)?.to_dtype(dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which keys each of 5 queries sees, one text for each.
    fn seen(reach: Reach, packed: Option<&[Vec<usize>]>) -> Vec<String> {
        let tokens = Tokens::new((0, 5), packed, true, &Device::Cpu);
        let span = tokens.span(reach).unwrap();
        let [Block { first_key: 0, keys: 5, mask: Some(mask), .. }] = &span.blocks[..] else {
            panic!("one block")
        };
        let rows: Vec<Vec<f32>> = mask.reshape((5, 5)).unwrap().to_vec2().unwrap();
        let text = |row: &Vec<f32>| {
            row.iter().map(|cell| if *cell == 0.0 { 'x' } else { '.' }).collect::<String>()
        };
        rows.iter().map(text).collect()
    }

    #[test]
    fn queries_see_as_far_as_they_reach() {
        let packed = [vec![3, 2]];
        for (reach, packed, want) in [
            (Reach::All, None, ["x....", "xx...", "xxx..", "xxxx.", "xxxxx"]),
            (Reach::Window(1), None, ["x....", "xx...", ".xx..", "..xx.", "...xx"]),
            (Reach::Chunk(2), None, ["x....", "xx...", "..x..", "..xx.", "....x"]),
            (Reach::All, Some(&packed[..]), ["x....", "xx...", "xxx..", "...x.", "...xx"]),
            (Reach::Chunk(2), Some(&packed[..]), ["x....", "xx...", "..x..", "...x.", "...xx"]),
        ] {
            assert_eq!(seen(reach, packed), want, "{reach:?}");
        }
        // One after the other, of a chunk only what is in it is there.
        let span = Tokens::new((5, 1), None, false, &Device::Cpu).span(Reach::Chunk(4)).unwrap();
        assert_eq!((span.blocks[0].first_key, span.blocks[0].keys), (4, 2));
    }

    #[test]
    fn queries_grow_with_their_position() {
        let temperature: Temperature =
            serde_json::from_str(r#"{"scale": 0.5, "floor": 2.0}"#).unwrap();
        let values = |packed: Option<&[Vec<usize>]>| -> Vec<f32> {
            let tokens = Tokens::new((0, 4), packed, true, &Device::Cpu);
            let all = tokens.temperatures(temperature, DType::F32).unwrap();
            all.flatten_all().unwrap().to_vec1().unwrap()
        };
        let grown = 1.0 + 0.5 * 2f32.ln();
        assert_eq!(values(None), [1.0, grown, grown, 1.0 + 0.5 * 3f32.ln()]);
        assert_eq!(values(Some(&[vec![2, 2]])), [1.0, grown, 1.0, grown]);
        let everywhere = Temperature { everywhere: true, ..temperature };
        let tokens = Tokens::new((0, 4), None, true, &Device::Cpu);
        let all = tokens.temperatures(everywhere, DType::F32).unwrap();
        let all: Vec<f32> = all.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(all, [1.0, 1.0, grown, grown]);
    }
}

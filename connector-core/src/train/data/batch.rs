//! Rows in the order in which a run takes them, as tensors.

use super::Dataset;
use super::rows::Row;
use crate::train::random::Random;
use crate::{Error, Result};
use candle_core::{Device, Tensor};

/// Some rows as tensors.
pub(in crate::train) struct Batch {
    /// What the model reads, `[rows, tokens]`, u32. Rows that are shorter end in zeros.
    pub inputs: Tensor,
    /// The lengths of the examples in each row, and last that of the zeros.
    pub lengths: Vec<Vec<usize>>,
    /// Which of all positions, row after row, are learnt, u32.
    pub positions: Tensor,
    /// The token to say at each of them, u32.
    pub labels: Tensor,
    /// How many tokens the model reads, without the zeros.
    pub tokens: usize,
    /// How many it learns.
    pub learnt: usize,
}

impl Batch {
    fn new(rows: &[Row], device: &Device) -> Result<Self> {
        let width = rows.iter().map(|row| row.inputs.len()).max().unwrap_or(0);
        let (mut inputs, mut positions, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut tokens, mut lengths) = (0, Vec::new());
        for row in rows {
            let start = inputs.len() as u32;
            let learnt = (0..row.inputs.len()).filter(|&at| row.learnt[at]);
            let (at, label): (Vec<u32>, Vec<u32>) =
                learnt.map(|at| (start + at as u32, row.labels[at])).unzip();
            positions.extend(at);
            labels.extend(label);
            tokens += row.inputs.len();
            inputs.extend(&row.inputs);
            let zeros = width - row.inputs.len();
            inputs.resize(inputs.len() + zeros, 0);
            lengths.push(row.lengths.iter().copied().chain((zeros > 0).then_some(zeros)).collect());
        }
        let learnt = labels.len();
        let tensor = |ids, len| Tensor::from_vec::<_, u32>(ids, len, device).map_err(Error::candle);
        let inputs =
            Tensor::from_vec(inputs, (rows.len(), width), device).map_err(Error::candle)?;
        let (positions, labels) = (tensor(positions, learnt)?, tensor(labels, learnt)?);
        Ok(Batch { inputs, lengths, positions, labels, tokens, learnt })
    }
}

impl Dataset {
    /// All rows in their order, `size` at a time.
    pub(in crate::train) fn batches(
        &self,
        size: usize,
        device: &Device,
    ) -> impl Iterator<Item = Result<Batch>> {
        (0..self.rows.len()).step_by(size.max(1)).map(move |first| {
            let some = first..self.rows.len().min(first + size);
            Batch::new(&some.map(|number| self.rows.row(number)).collect::<Vec<_>>(), device)
        })
    }
}

/// Deals rows out: each once an epoch, in an order that follows from the seed and the epoch, so
/// that the number of rows taken so far is all there is to remember.
pub(in crate::train) struct Sampler<'a> {
    data: &'a Dataset,
    seed: u64,
    consumed: u64,
    /// An epoch and its order.
    order: (u64, Vec<usize>),
}

impl<'a> Sampler<'a> {
    /// Goes on after `consumed` rows.
    pub fn new(data: &'a Dataset, seed: u64, consumed: u64) -> Self {
        let mut sampler = Sampler { data, seed, consumed, order: (0, Vec::new()) };
        sampler.order = (sampler.epoch(), sampler.shuffle(sampler.epoch()));
        sampler
    }

    /// How many rows were taken.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    fn epoch(&self) -> u64 {
        self.consumed / self.data.rows.len() as u64
    }

    fn shuffle(&self, epoch: u64) -> Vec<usize> {
        Random::new(self.seed, &format!("epoch {epoch}")).order(self.data.rows.len())
    }

    /// The next `size` rows.
    pub fn next(&mut self, size: usize, device: &Device) -> Result<Batch> {
        let mut rows = Vec::with_capacity(size);
        for _ in 0..size {
            if self.order.0 != self.epoch() {
                self.order = (self.epoch(), self.shuffle(self.epoch()));
            }
            let at = (self.consumed % self.data.rows.len() as u64) as usize;
            rows.push(self.data.rows.row(self.order.1[at]));
            self.consumed += 1;
        }
        Batch::new(&rows, device)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Rows;
    use super::super::tokens::Tokens;
    use super::*;

    fn row(inputs: &[u32], learnt: &[bool], lengths: &[usize]) -> Row {
        let labels = inputs.iter().map(|id| id + 100).collect();
        let (inputs, learnt, lengths) = (inputs.to_vec(), learnt.to_vec(), lengths.to_vec());
        Row { inputs, labels, learnt, lengths }
    }

    fn dataset(rows: u32) -> Dataset {
        let mut packed = Rows::new(1);
        for id in 0..rows {
            let (is_text, goes_on) = (false, false);
            packed.push(&Tokens { ids: vec![id, 0], learnt_from: 1, is_text, goes_on });
        }
        packed.close();
        Dataset { rows: packed, fingerprint: String::new(), examples: 0, truncated: 0 }
    }

    #[test]
    fn rows_become_tensors_of_one_width() {
        let rows = [row(&[1, 2, 3], &[false, true, true], &[1, 2]), row(&[4], &[true], &[1])];
        let batch = Batch::new(&rows, &Device::Cpu).unwrap();
        assert_eq!(batch.inputs.to_vec2::<u32>().unwrap(), [[1, 2, 3], [4, 0, 0]]);
        assert_eq!(batch.positions.to_vec1::<u32>().unwrap(), [1, 2, 3]);
        assert_eq!(batch.labels.to_vec1::<u32>().unwrap(), [102, 103, 104]);
        assert_eq!(batch.lengths, [vec![1, 2], vec![1, 2]]);
        assert_eq!((batch.tokens, batch.learnt), (4, 3));
    }

    fn ids(sampler: &mut Sampler<'_>, size: usize) -> Vec<u32> {
        let batch = sampler.next(size, &Device::Cpu).unwrap();
        batch.inputs.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn an_epoch_has_each_row_once() {
        let data = dataset(7);
        let mut sampler = Sampler::new(&data, 1, 0);
        let taken: Vec<u32> = (0..7).flat_map(|_| ids(&mut sampler, 3)).collect();
        for epoch in taken.chunks(7) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(taken[..7], taken[7..14]);
        assert_ne!(ids(&mut Sampler::new(&data, 2, 0), 7), taken[..7]);
    }

    #[test]
    fn a_sampler_goes_on_where_another_stopped() {
        let data = dataset(5);
        let mut unbroken = Sampler::new(&data, 9, 0);
        let all = ids(&mut unbroken, 20);
        for consumed in 0..20 {
            let mut resumed = Sampler::new(&data, 9, consumed as u64);
            assert_eq!(ids(&mut resumed, 20 - consumed), all[consumed..], "{consumed}");
            assert_eq!(resumed.consumed(), unbroken.consumed());
        }
    }
}

//! Logits held against each other.

use super::{GPTModel, ModelError};
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// How far apart two models' logits for the same tokens are.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogitDistance {
    /// How many tokens were compared.
    pub tokens: usize,
    /// The largest distance between two logits.
    pub largest: f64,
    /// Where it is: the sequence, the position in it, the token of the vocabulary.
    pub at: [usize; 3],
    /// The two logits there, the model's and the reference's.
    pub logits: [f64; 2],
    /// The mean distance.
    pub mean: f64,
    /// The largest absolute value of the reference's logits.
    pub scale: f64,
    /// At how many tokens both have the same most likely next one.
    pub same_choice: usize,
}

impl GPTModel {
    /// Computes the logits of `tokens`, `[sequences, tokens]`, in f32, one sequence after the other.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn logits_of(&self, tokens: &Tensor) -> Result<Tensor> {
        let sequences = match *tokens.dims() {
            [sequences, _] if sequences > 0 => sequences,
            _ => return Err(ModelError::NotABatch { shape: tokens.dims().to_vec() }.into()),
        };
        let mut all = Vec::with_capacity(sequences);
        for sequence in 0..sequences {
            let one = tokens.narrow(0, sequence, 1).map_err(Error::candle)?;
            all.push(self.forward(&one)?.to_dtype(DType::F32).map_err(Error::candle)?);
        }
        Tensor::cat(&all, 0).map_err(Error::candle)
    }
}

impl LogitDistance {
    /// Compares logits, each `[sequences, tokens, vocabulary]`.
    ///
    /// # Errors
    /// [`ModelError::OtherShape`] if the shapes differ; [`ModelError::NotNumbers`];
    /// [`Error::Candle`].
    pub fn between(model: &Tensor, reference: &Tensor) -> Result<Self> {
        let [dims, other] = [model, reference].map(|logits| logits.dims().to_vec());
        let (&[_, tokens, vocabulary], true) = (dims.as_slice(), dims == other) else {
            return Err(ModelError::OtherShape { model: dims, reference: other }.into());
        };
        let rows = |logits: &Tensor| {
            let rows = logits.to_dtype(DType::F64)?.reshape(((), vocabulary))?;
            rows.to_vec2::<f64>()
        };
        let [model, reference] = [rows(model), rows(reference)];
        let (model, reference) = (model.map_err(Error::candle)?, reference.map_err(Error::candle)?);
        let mut distance = LogitDistance {
            tokens: model.len(),
            largest: 0.0,
            at: [0; 3],
            logits: [0.0; 2],
            mean: 0.0,
            scale: 0.0,
            same_choice: 0,
        };
        let mut sum = 0.0;
        for (row, (model, reference)) in model.iter().zip(&reference).enumerate() {
            for (token, (&ours, &theirs)) in model.iter().zip(reference).enumerate() {
                let apart = (ours - theirs).abs();
                if !apart.is_finite() {
                    return Err(ModelError::NotNumbers.into());
                }
                sum += apart;
                distance.scale = distance.scale.max(theirs.abs());
                if apart > distance.largest {
                    distance.largest = apart;
                    distance.at = [row / tokens, row % tokens, token];
                    distance.logits = [ours, theirs];
                }
            }
            let [ours, theirs] = [model, reference].map(|row| most_likely(row));
            distance.same_choice += usize::from(ours == theirs);
        }
        distance.mean = sum / (model.len() * vocabulary).max(1) as f64;
        Ok(distance)
    }
}

fn most_likely(logits: &[f64]) -> Option<usize> {
    // Of equal ones the first.
    (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn logits(values: [f32; 6]) -> Tensor {
        Tensor::from_slice(&values, (1, 2, 3), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_largest_distance_is_found() {
        let one = logits([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let other = logits([0.0, 1.5, 2.0, 3.0, 9.0, 5.0]);
        let distance = LogitDistance::between(&one, &other).unwrap();
        assert_eq!((distance.largest, distance.at), (5.0, [0, 1, 1]));
        assert_eq!((distance.logits, distance.scale), ([4.0, 9.0], 9.0));
        assert_eq!((distance.tokens, distance.same_choice), (2, 1));
        assert!((distance.mean - 5.5 / 6.0).abs() < 1e-12);
        let same = LogitDistance::between(&one, &one).unwrap();
        assert_eq!((same.largest, same.mean, same.same_choice), (0.0, 0.0, 2));
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let one = logits([0.0; 6]);
        let shorter = one.narrow(1, 0, 1).unwrap();
        assert!(LogitDistance::between(&one, &shorter).is_err());
        let mut values = [0.0; 6];
        values[3] = f32::NAN;
        assert!(LogitDistance::between(&one, &logits(values)).is_err());
        values[3] = f32::INFINITY;
        assert!(LogitDistance::between(&logits(values), &one).is_err());
    }
}

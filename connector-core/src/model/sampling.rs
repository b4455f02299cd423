//! The choice of the next token.

use super::ModelError;
use crate::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How the next token is chosen. In the order of transformers: the temperature, then `top_k`, then
/// `top_p`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// What logits are divided by. With 0 the most likely token is taken, of equal ones the first.
    pub temperature: f64,
    /// Only so many of the most likely tokens may be taken.
    pub top_k: Option<usize>,
    /// Only the most likely tokens may be taken that together have this probability.
    pub top_p: Option<f64>,
    /// Where the random numbers begin: the same seed gives the same tokens, with the same version of
    /// this crate, on the same device.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.0, top_k: None, top_p: None, seed: 0 }
    }
}

/// Chooses tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: StdRng,
}

impl Sampler {
    /// # Errors
    /// [`ModelError::Sampling`] for a number that makes no sense.
    pub fn new(sampling: Sampling) -> Result<Self> {
        let wrong = |name, value: f64, range| ModelError::Sampling { name, value, range };
        let Sampling { temperature, top_k, top_p, seed } = sampling;
        if !(0.0..f64::INFINITY).contains(&temperature) {
            return Err(wrong("temperature", temperature, "from 0").into());
        }
        if top_k == Some(0) {
            return Err(wrong("top_k", 0.0, "from 1").into());
        }
        if let Some(top_p) = top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(wrong("top_p", top_p, "above 0, to 1").into());
        }
        Ok(Sampler { sampling, random: StdRng::seed_from_u64(seed) })
    }

    /// A token, by the logits of all of the vocabulary.
    ///
    /// # Errors
    /// [`ModelError::NotNumbers`] if a logit is none.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        if logits.is_empty() || logits.iter().any(|logit| logit.is_nan()) {
            return Err(ModelError::NotNumbers.into());
        }
        let likely = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        let Sampling { temperature, top_k, top_p, .. } = self.sampling;
        let mut tokens: Vec<usize> = (0..logits.len()).collect();
        if temperature == 0.0 {
            return Ok(tokens.into_iter().min_by(likely).unwrap_or_default() as u32);
        }
        if let Some(k) = top_k.filter(|&k| k < tokens.len()) {
            tokens.select_nth_unstable_by(k, likely);
            tokens.truncate(k);
        }
        tokens.sort_unstable_by(likely);
        let most = f64::from(logits[tokens[0]]);
        if most.is_infinite() {
            // To the others there is no ratio.
            return Ok(tokens[0] as u32);
        }
        let weight = |&token: &usize| ((f64::from(logits[token]) - most) / temperature).exp();
        let mut weights: Vec<f64> = tokens.iter().map(weight).collect();
        if let Some(p) = top_p {
            let enough = p * weights.iter().sum::<f64>();
            let mut sum = 0.0;
            let reaches = |weight: &f64| {
                sum += weight;
                sum >= enough
            };
            let kept = weights.iter().position(reaches).map_or(weights.len(), |last| last + 1);
            weights.truncate(kept);
        }
        let mut rest = self.random.random::<f64>() * weights.iter().sum::<f64>();
        let taken = weights.iter().position(|weight| {
            rest -= weight;
            rest < 0.0
        });
        // Rounding may leave a rest.
        Ok(tokens[taken.unwrap_or(weights.len() - 1)] as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of the tokens is chosen in a thousand times.
    fn counts(sampling: Sampling, logits: &[f32]) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..1000 {
            counts[sampler.choose(logits).unwrap() as usize] += 1;
        }
        counts
    }

    /// Probabilities 0.1, 0.6, 0.1, 0.2: the logarithms of 1, 6, 1, 2.
    const LOGITS: [f32; 4] = [0.0, 1.791_759_5, 0.0, std::f32::consts::LN_2];

    fn sampling(temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
        Sampling { temperature, top_k, top_p, seed: 7 }
    }

    #[test]
    fn only_what_may_be_taken_is() {
        for (temperature, top_k, top_p, taken) in [
            (0.0, None, None, [false, true, false, false]),
            (1.0, None, None, [true, true, true, true]),
            (1.0, Some(1), None, [false, true, false, false]),
            (1.0, Some(2), None, [false, true, false, true]),
            // Of two that are equally likely the first.
            (1.0, Some(3), None, [true, true, false, true]),
            (1.0, Some(9), None, [true, true, true, true]),
            (1.0, None, Some(0.5), [false, true, false, false]),
            (1.0, None, Some(0.7), [false, true, false, true]),
            (1.0, None, Some(0.85), [true, true, false, true]),
            (1.0, None, Some(1.0), [true, true, true, true]),
            (1.0, None, Some(1e-9), [false, true, false, false]),
            // 3/4 and 1/4 are left of the first two.
            (1.0, Some(2), Some(0.7), [false, true, false, false]),
            (0.01, None, None, [false, true, false, false]),
        ] {
            let counts = counts(sampling(temperature, top_k, top_p), &LOGITS);
            let got: Vec<bool> = counts.iter().map(|&count| count > 0).collect();
            assert_eq!(got, taken, "{temperature} {top_k:?} {top_p:?}: {counts:?}");
        }
    }

    #[test]
    fn tokens_come_as_often_as_they_are_likely() {
        let counts = counts(sampling(1.0, None, None), &LOGITS);
        for (count, want) in counts.iter().zip([100, 600, 100, 200]) {
            // Five standard deviations of the widest.
            assert!(count.abs_diff(want) < 78, "{counts:?}");
        }
    }

    #[test]
    fn a_seed_says_which() {
        let run = |seed| {
            let mut sampler = Sampler::new(Sampling { seed, ..sampling(1.0, None, None) }).unwrap();
            (0..50).map(|_| sampler.choose(&LOGITS).unwrap()).collect::<Vec<u32>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (temperature, top_k, top_p) in [
            (-1.0, None, None),
            (f64::NAN, None, None),
            (f64::INFINITY, None, None),
            (1.0, Some(0), None),
            (1.0, None, Some(0.0)),
            (1.0, None, Some(1.5)),
            (1.0, None, Some(f64::NAN)),
        ] {
            assert!(Sampler::new(sampling(temperature, top_k, top_p)).is_err());
        }
        let mut greedy = Sampler::new(Sampling::default()).unwrap();
        assert!(greedy.choose(&[0.0, f32::NAN]).is_err());
        assert!(greedy.choose(&[]).is_err());
        for temperature in [0.0, 1.0] {
            let mut sampler = Sampler::new(sampling(temperature, None, Some(0.9))).unwrap();
            assert_eq!(sampler.choose(&[f32::NEG_INFINITY, f32::INFINITY, 0.0]).unwrap(), 1);
            assert_eq!(sampler.choose(&[f32::NEG_INFINITY; 3]).unwrap(), 0);
        }
    }
}

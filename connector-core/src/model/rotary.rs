//! Rotary position embeddings.

use super::kernels::rotate;
use super::spec::RotarySpec;
use crate::gpt::{Longrope, RopeScaling, Yarn};
use candle_core::{D, DType, Device, Result, Tensor};
use std::f32::consts::PI;

/// The frequencies of the rotations, `[1, rotated size / 2]`.
#[derive(Clone, Debug)]
pub(super) struct Rotary {
    pub spec: RotarySpec,
    frequencies: Tensor,
    /// Those in sequences that are longer than so many tokens.
    long: Option<(usize, Tensor)>,
    /// What the rotated is multiplied by.
    factor: f64,
}

/// Cosines and sines of the angles at some positions, `[positions, rotated size / 2]` each.
#[derive(Clone, Debug)]
pub(super) struct Angles {
    cos: Tensor,
    sin: Tensor,
    size: usize,
    interleaved: bool,
}

impl Rotary {
    pub fn new(spec: &RotarySpec, device: &Device) -> Result<Self> {
        let row = |frequencies: Vec<f32>| {
            let len = frequencies.len();
            Tensor::from_vec(frequencies, (1, len), device)
        };
        let long = match &spec.scaling {
            Some(RopeScaling::Longrope(long)) => {
                Some((long.old_context_len, row(divided(spec, &long.long_factor))?))
            }
            _ => None,
        };
        Ok(Rotary {
            spec: spec.clone(),
            frequencies: row(frequencies(spec))?,
            long,
            factor: match &spec.scaling {
                Some(RopeScaling::Yarn(yarn)) => attention_factor(yarn),
                Some(RopeScaling::Longrope(long)) => growth(long),
                _ => 1.0,
            },
        })
    }

    /// The angles at `len` positions from `first` on, of sequences of so many tokens. Computed in f32
    /// and rounded, as transformers does; not kept for all positions, of which a config may have any
    /// number.
    pub fn angles(
        &self,
        first: usize,
        len: usize,
        sequence: usize,
        dtype: DType,
    ) -> Result<Angles> {
        let device = self.frequencies.device();
        let positions = Tensor::arange(first as u32, (first + len) as u32, device)?;
        let positions = positions.to_dtype(DType::F32)?.reshape((len, 1))?;
        let frequencies = match &self.long {
            Some((most, long)) if sequence > *most => long,
            _ => &self.frequencies,
        };
        let angles = positions.matmul(frequencies)?;
        let scaled = |x: Tensor| match self.factor == 1.0 {
            true => x.to_dtype(dtype),
            false => (x * self.factor)?.to_dtype(dtype),
        };
        Ok(Angles {
            cos: scaled(angles.cos()?)?,
            sin: scaled(angles.sin()?)?,
            size: self.spec.size,
            interleaved: self.spec.interleaved,
        })
    }
}

impl Angles {
    /// Turns each head of `x`, `[batch, heads, positions, head size]`, or as much of it as is rotated.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let whole = x.dim(D::Minus1)?;
        if self.size == whole {
            return rotate(x, &self.cos, &self.sin, self.interleaved);
        }
        let turned = x.narrow(D::Minus1, 0, self.size)?;
        let turned = rotate(&turned, &self.cos, &self.sin, self.interleaved)?;
        let rest = x.narrow(D::Minus1, self.size, whole - self.size)?;
        Tensor::cat(&[&turned, &rest], D::Minus1)
    }
}

/// `base^(-2i / rotated size)`, scaled; in f32, as transformers computes them
/// (`modeling_rope_utils.py`).
fn frequencies(spec: &RotarySpec) -> Vec<f32> {
    let plain = plain(spec);
    match spec.scaling {
        None => plain.collect(),
        Some(RopeScaling::Longrope(ref long)) => divided(spec, &long.short_factor),
        Some(RopeScaling::Linear { scale_factor }) => {
            plain.map(|frequency| frequency / scale_factor as f32).collect()
        }
        Some(RopeScaling::Llama3 {
            scale_factor,
            low_freq_factor,
            high_freq_factor,
            old_context_len,
        }) => {
            let [factor, low, high] =
                [scale_factor, low_freq_factor, high_freq_factor].map(|factor| factor as f32);
            let context = old_context_len as f32;
            let stretch = |frequency: f32| {
                let wavelength = 2.0 * PI / frequency;
                if wavelength < context / high {
                    frequency
                } else if wavelength > context / low {
                    frequency / factor
                } else {
                    let smooth = (context / wavelength - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            };
            plain.map(stretch).collect()
        }
        Some(RopeScaling::Yarn(ref yarn)) => {
            let (low, high) = ramp(spec, yarn);
            let stretch = |(i, frequency): (usize, f32)| {
                let kept = 1.0 - ((i as f32 - low) / (high - low)).clamp(0.0, 1.0);
                frequency / yarn.scale_factor as f32 * (1.0 - kept) + frequency * kept
            };
            plain.enumerate().map(stretch).collect()
        }
    }
}

fn plain(spec: &RotarySpec) -> impl Iterator<Item = f32> {
    let (size, base) = (spec.size, spec.base as f32);
    (0..size).step_by(2).map(move |i| 1.0 / base.powf(i as f32 / size as f32))
}

/// Each divided by its own number.
fn divided(spec: &RotarySpec, by: &[f64]) -> Vec<f32> {
    plain(spec).zip(by).map(|(frequency, by)| frequency / *by as f32).collect()
}

/// What LongRoPE multiplies queries and keys by.
fn growth(long: &Longrope) -> f64 {
    let follows = match long.scale_factor > 1.0 {
        true => (1.0 + long.scale_factor.ln() / (long.old_context_len as f64).ln()).sqrt(),
        false => 1.0,
    };
    long.attention_factor.unwrap_or(follows)
}

/// Where YaRN's ramp begins and ends: at the frequencies that turn `beta_fast` and `beta_slow` times
/// in the old context.
fn ramp(spec: &RotarySpec, yarn: &Yarn) -> (f32, f32) {
    let size = spec.size as f64;
    let at = |turns: f64| {
        let length = yarn.old_context_len as f64 / (turns * 2.0 * std::f64::consts::PI);
        size * length.ln() / (2.0 * spec.base.ln())
    };
    let (mut low, mut high) = (at(yarn.beta_fast), at(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, high) = (low.max(0.0), high.min(size - 1.0));
    // A ramp of no width would divide by 0.
    let high = if low == high { high + 0.001 } else { high };
    (low as f32, high as f32)
}

/// What YaRN multiplies queries and keys by.
fn attention_factor(yarn: &Yarn) -> f64 {
    let grown = |by: f64| match yarn.scale_factor > 1.0 {
        true => 0.1 * by * yarn.scale_factor.ln() + 1.0,
        false => 1.0,
    };
    match (yarn.attention_factor, yarn.mscale, yarn.mscale_all_dim) {
        (Some(factor), ..) => factor,
        (None, Some(one), Some(all)) => grown(one) / grown(all),
        (None, ..) => grown(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yarn(change: impl FnOnce(&mut Yarn)) -> RotarySpec {
        let mut yarn: Yarn = serde_json::from_value(serde_json::json!({
            "scale_factor": 4.0, "old_context_len": 64, "beta_fast": 32.0, "beta_slow": 1.0,
            "truncate": true,
        }))
        .unwrap();
        change(&mut yarn);
        let scaling = Some(RopeScaling::Yarn(yarn));
        RotarySpec { size: 16, base: 100.0, scaling, interleaved: false }
    }

    /// Fast frequencies stay, slow ones are divided, and between them it is a mixture.
    #[test]
    fn yarn_stretches_what_is_slow() {
        let spec = yarn(|_| {});
        let plain = frequencies(&RotarySpec { scaling: None, ..spec.clone() });
        let shares = |spec: &RotarySpec| -> Vec<f32> {
            frequencies(spec).iter().zip(&plain).map(|(new, old)| new / old).collect()
        };
        // The ramp goes from max(floor(-1.98), 0) to ceil(4.03) = 5.
        for (i, share) in shares(&spec).into_iter().enumerate() {
            let want = 1.0 - 0.75 * (i as f32 / 5.0).min(1.0);
            assert!((share - want).abs() < 1e-6, "{i}: {share} is not {want}");
        }
        assert!(shares(&yarn(|y| y.truncate = false))[4] < shares(&spec)[4]);
    }

    #[test]
    fn yarn_multiplies_by_what_transformers_does() {
        type Change = fn(&mut Yarn);
        let ln = 4f64.ln();
        for (change, want) in [
            ((|_| {}) as Change, 0.1 * ln + 1.0),
            (|y| y.scale_factor = 0.5, 1.0),
            (|y| y.attention_factor = Some(3.0), 3.0),
            (|y| y.mscale = Some(2.0), 0.1 * ln + 1.0),
            (
                |y| (y.mscale, y.mscale_all_dim) = (Some(2.0), Some(1.0)),
                (0.2 * ln + 1.0) / (0.1 * ln + 1.0),
            ),
        ] {
            let Some(RopeScaling::Yarn(yarn)) = yarn(change).scaling else { panic!("yarn") };
            assert!((attention_factor(&yarn) - want).abs() < 1e-12, "{yarn:?}");
        }
    }

    /// Sequences that are longer than they were have other frequencies, from their first token on.
    #[test]
    fn longrope_goes_by_the_length_of_the_sequence() {
        let long = |attention_factor: Option<f64>| -> Longrope {
            serde_json::from_value(serde_json::json!({
                "short_factor": [1.0, 2.0], "long_factor": [4.0, 8.0], "old_context_len": 8,
                "scale_factor": 8.0, "attention_factor": attention_factor,
            }))
            .unwrap()
        };
        assert_eq!((growth(&long(None)), growth(&long(Some(3.0)))), (2f64.sqrt(), 3.0));
        let scaling = Some(RopeScaling::Longrope(long(Some(1.0))));
        let spec = RotarySpec { size: 4, base: 1.0, scaling, interleaved: false };
        let rotary = Rotary::new(&spec, &Device::Cpu).unwrap();
        for (sequence, divisors) in [(8, [1f32, 2.0]), (9, [4.0, 8.0])] {
            let angles = rotary.angles(1, 1, sequence, DType::F32).unwrap();
            let cos: Vec<f32> = angles.cos.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(cos, divisors.map(|divisor| (1.0 / divisor).cos()), "{sequence}");
        }
    }

    /// Of a head of 4, half is rotated: the pair (0, 1) whether halves or neighbours are turned; of a
    /// whole one the pairs differ.
    #[test]
    fn a_part_of_a_head_and_neighbours_are_rotated() {
        let x = Tensor::new(&[[[[1f32, 2.0, 3.0, 4.0]]]], &Device::Cpu).unwrap();
        let turned = |size, interleaved| -> Vec<f32> {
            let spec = RotarySpec { size, base: 1.0, scaling: None, interleaved };
            let angles = Rotary::new(&spec, &Device::Cpu).unwrap().angles(1, 1, 2, DType::F32);
            angles.unwrap().rotate(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let (c, s) = (1f32.cos(), 1f32.sin());
        for (size, interleaved, want) in [
            (2, false, [c - 2.0 * s, 2.0 * c + s, 3.0, 4.0]),
            (2, true, [c - 2.0 * s, 2.0 * c + s, 3.0, 4.0]),
            (4, false, [c - 3.0 * s, 2.0 * c - 4.0 * s, 3.0 * c + s, 4.0 * c + 2.0 * s]),
            (4, true, [c - 2.0 * s, 2.0 * c + s, 3.0 * c - 4.0 * s, 4.0 * c + 3.0 * s]),
        ] {
            let got = turned(size, interleaved);
            let near = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6);
            assert!(near, "{size} {interleaved}: {got:?} is not {want:?}");
        }
    }
}

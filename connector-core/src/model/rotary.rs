//! Rotary position embeddings.

use super::kernels::rotate;
use crate::gpt::{GptConfig, RopeScaling};
use candle_core::{DType, Device, Result, Tensor};
use std::f32::consts::PI;

/// The frequencies of the rotations, `[head size / 2]`.
#[derive(Clone, Debug)]
pub(super) struct Rotary {
    frequencies: Tensor,
}

/// Cosines and sines of the angles at some positions, `[positions, head size / 2]` each.
#[derive(Clone, Debug)]
pub(super) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    pub fn new(config: &GptConfig, device: &Device) -> Result<Self> {
        let frequencies = frequencies(config);
        let len = frequencies.len();
        Ok(Rotary { frequencies: Tensor::from_vec(frequencies, (1, len), device)? })
    }

    /// The angles at `len` positions from `first` on. Computed in f32 and rounded, as transformers
    /// does; not kept for all positions, of which a config may have any number.
    pub fn angles(&self, first: usize, len: usize, dtype: DType) -> Result<Angles> {
        let device = self.frequencies.device();
        let positions = Tensor::arange(first as u32, (first + len) as u32, device)?;
        let positions = positions.to_dtype(DType::F32)?.reshape((len, 1))?;
        let angles = positions.matmul(&self.frequencies)?;
        Ok(Angles { cos: angles.cos()?.to_dtype(dtype)?, sin: angles.sin()?.to_dtype(dtype)? })
    }
}

impl Angles {
    /// Turns each head of `x`, `[batch, heads, positions, head size]`.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        rotate(x, &self.cos, &self.sin)
    }
}

/// `base^(-2i / head size)`, scaled; in f32, as transformers computes them
/// (`modeling_rope_utils.py`).
fn frequencies(config: &GptConfig) -> Vec<f32> {
    let (size, base) = (config.kv_channels, config.rotary_base as f32);
    let plain = (0..size).step_by(2).map(|i| 1.0 / base.powf(i as f32 / size as f32));
    match config.rope_scaling {
        None => plain.collect(),
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
    }
}

//! Numbers that are stored as few bits and a scale per block, made whole: the way back from
//! quantised checkpoints. Lossy, since the result is rounded to `BF16`, and without an inverse.

use super::dims::{elements, exactly};
use crate::base::Dtype;
use crate::transform::{Class, Compute, Kernel, Kind, Operation, Signature, Transform};
use half::bf16;

#[cfg(feature = "candle")]
use {
    super::dims, crate::Tensor, crate::transform::BoxError, candle_core::DType,
    candle_core::Result as CandleResult,
};

macro_rules! computation {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        #[allow(non_camel_case_types, reason = "named as a mapping writes it")]
        #[derive(Debug)]
        pub struct $name {}

        #[diagnostic::do_not_recommend]
        impl Transform for $name {
            const OPERATION: Operation = Operation {
                name: stringify!($name),
                class: Class::Lossy,
                sources: 2,
                targets: 1,
                signature: Signature::Dequantises,
                kernel: Kernel::Compute(&$name {}),
                inverse: None,
                each: false,
            };
        }
    };
}

computation! {
    /// (weights `F8_E4M3` `[r, c]`, scales `F32` `[⌈r/128⌉, ⌈c/128⌉]`) → `BF16` `[r, c]`: each
    /// weight times the scale of its block of 128 × 128, in `f32`, then rounded.
    ///
    /// DeepSeek-V3's `weight` and `weight_scale_inv`, as Megatron-Bridge reads them.
    dequantise_fp8
}

computation! {
    /// (blocks `U8` `[…, g, 16]`, scales `U8` `[…, g]`) → `BF16` `[…, 32·g]`: MXFP4, two 4-bit
    /// numbers a byte, the low half first, each times 2^(scale − 127).
    ///
    /// GPT-OSS's `_blocks` and `_scales`. The numbers are those of the OCP Microscaling format:
    /// 0, ½, 1, 1½, 2, 3, 4, 6 and their negatives; a scale of 255 is not a number.
    dequantise_mxfp4
}

/// The side of a block of FP8 weights that share a scale.
const BLOCK: usize = 128;

/// What the 4 bits of MXFP4 stand for.
const FP4: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// What a byte of `F8_E4M3` stands for: 4 bits of exponent with bias 7, 3 of mantissa, no
/// infinities, all ones is not a number (the "FN" variant that safetensors means).
fn fp8(byte: u8) -> f32 {
    let sign = if byte >> 7 == 1 { -1.0 } else { 1.0 };
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => sign * mantissa / 512.0,
        _ => sign * (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    }
}

/// What an exponent byte stands for.
fn power(scale: u8) -> f32 {
    if scale == u8::MAX { f32::NAN } else { 2f32.powi(i32::from(scale) - 127) }
}

fn fp8_target(sources: &[Kind]) -> Result<Kind, String> {
    let [(weights, shape), (scales, blocks)] = exactly(sources)?;
    if (*weights, *scales) != (Dtype::F8E4M3, Dtype::F32) {
        return Err(format!("it takes F8_E4M3 weights and F32 scales, not {weights} and {scales}"));
    }
    let &[rows, columns] = shape.as_slice() else {
        return Err(format!("the weights are {shape:?}; they should be a matrix"));
    };
    let wanted = [rows.div_ceil(BLOCK), columns.div_ceil(BLOCK)];
    if *blocks != wanted {
        return Err(format!("weights of {shape:?} have {wanted:?} scales, not {blocks:?}"));
    }
    elements(shape)?;
    Ok((Dtype::Bf16, shape.clone()))
}

fn mxfp4_target(sources: &[Kind]) -> Result<Kind, String> {
    let [(blocks, shape), (scales, groups)] = exactly(sources)?;
    if (*blocks, *scales) != (Dtype::U8, Dtype::U8) {
        return Err(format!("it takes U8 blocks and U8 scales, not {blocks} and {scales}"));
    }
    let Some((16, outer)) = shape.split_last().map(|(last, outer)| (*last, outer)) else {
        return Err(format!("the blocks are {shape:?}; the last dimension should be 16"));
    };
    let Some((&last, rows)) = outer.split_last().filter(|_| outer == groups) else {
        return Err(format!("blocks of {shape:?} have {outer:?} scales, not {groups:?}"));
    };
    let columns = last.checked_mul(32).ok_or("there are too many blocks")?;
    let target = [rows, &[columns]].concat();
    elements(&target)?;
    Ok((Dtype::Bf16, target))
}

impl Compute for dequantise_fp8 {
    fn target(&self, sources: &[Kind]) -> Result<Kind, String> {
        fp8_target(sources)
    }

    fn run(&self, sources: &[Kind], bytes: &[&[u8]]) -> Vec<u8> {
        let ([(_, shape), _], [weights, scales]) = (sources, bytes) else { return Vec::new() };
        let columns = shape.get(1).copied().unwrap_or(0).max(1);
        let per_row = columns.div_ceil(BLOCK);
        let scale = |at: usize| {
            let block = at / columns / BLOCK * per_row + at % columns / BLOCK;
            let mut raw = [0; 4];
            raw.copy_from_slice(&scales[block * 4..][..4]);
            f32::from_le_bytes(raw)
        };
        let value = |(at, &weight): (usize, &u8)| bf16::from_f32(fp8(weight) * scale(at));
        weights.iter().enumerate().flat_map(|weight| value(weight).to_le_bytes()).collect()
    }

    #[cfg(feature = "candle")]
    fn apply(&self, sources: &[Tensor]) -> Result<Tensor, BoxError> {
        let [weights, scales] = exactly(sources)?;
        Ok(dequantise_fp8(weights, scales)?)
    }
}

impl Compute for dequantise_mxfp4 {
    fn target(&self, sources: &[Kind]) -> Result<Kind, String> {
        mxfp4_target(sources)
    }

    fn run(&self, _: &[Kind], bytes: &[&[u8]]) -> Vec<u8> {
        let [blocks, scales] = bytes else { return Vec::new() };
        let group = |(block, &scale): (&[u8], &u8)| {
            let power = power(scale);
            let halves = block.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect::<Vec<_>>();
            let value = move |half: u8| bf16::from_f32(FP4[usize::from(half)] * power);
            halves.into_iter().flat_map(move |half| value(half).to_le_bytes())
        };
        blocks.chunks_exact(16).zip(*scales).flat_map(group).collect()
    }

    #[cfg(feature = "candle")]
    fn apply(&self, sources: &[Tensor]) -> Result<Tensor, BoxError> {
        let [blocks, scales] = exactly(sources)?;
        Ok(dequantise_mxfp4(blocks, scales)?)
    }
}

/// The kinds of tensors, as far as these operations know the types.
#[cfg(feature = "candle")]
fn kinds(tensors: [&Tensor; 2]) -> [Kind; 2] {
    tensors.map(|tensor| {
        let dtype = match tensor.dtype() {
            DType::F8E4M3 => Dtype::F8E4M3,
            DType::U8 => Dtype::U8,
            DType::F32 => Dtype::F32,
            _ => Dtype::Bool,
        };
        (dtype, tensor.dims().to_vec())
    })
}

/// Weights `F8E4M3` `[r, c]` and scales `F32` by blocks of 128 × 128 → `BF16` `[r, c]`.
///
/// # Errors
/// If the types or shapes do not fit, and candle's.
#[cfg(feature = "candle")]
pub fn dequantise_fp8(weights: &Tensor, scales: &Tensor) -> CandleResult<Tensor> {
    fp8_target(&kinds([weights, scales])).map_err(dims::refused)?;
    let (rows, columns) = weights.dims2()?;
    let (down, across) = scales.dims2()?;
    let spread =
        scales.reshape((down, 1, across, 1))?.broadcast_as((down, BLOCK, across, BLOCK))?;
    let spread = spread.contiguous()?.reshape((down * BLOCK, across * BLOCK))?;
    let spread = spread.narrow(0, 0, rows)?.narrow(1, 0, columns)?;
    (weights.to_dtype(DType::F32)? * spread)?.to_dtype(DType::BF16)
}

/// Blocks `U8` `[…, g, 16]` and scales `U8` `[…, g]` → `BF16` `[…, 32·g]`.
///
/// # Errors
/// If the types or shapes do not fit, and candle's.
#[cfg(feature = "candle")]
pub fn dequantise_mxfp4(blocks: &Tensor, scales: &Tensor) -> CandleResult<Tensor> {
    let (_, target) = mxfp4_target(&kinds([blocks, scales])).map_err(dims::refused)?;
    let device = blocks.device();
    // Both halves of every byte, looked up in tables: there is no shift on tensors of bytes.
    let pairs: Vec<f32> =
        (0..=u8::MAX).flat_map(|b| [FP4[usize::from(b & 15)], FP4[usize::from(b >> 4)]]).collect();
    let powers: Vec<f32> = (0..=u8::MAX).map(power).collect();
    let (pairs, powers) =
        (Tensor::from_vec(pairs, (256, 2), device)?, Tensor::from_vec(powers, 256, device)?);
    // As U32: candle takes the largest index of a type for "none".
    let index = |bytes: &Tensor| bytes.flatten_all()?.to_dtype(DType::U32);
    let values = pairs.index_select(&index(blocks)?, 0)?.reshape(((), 32))?;
    let powers = powers.index_select(&index(scales)?, 0)?.reshape(((), 1))?;
    values.broadcast_mul(&powers)?.to_dtype(DType::BF16)?.reshape(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "candle")]
    use proptest::prelude::*;

    fn bf16s(bytes: &[u8]) -> Vec<f32> {
        bytes.chunks(2).map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
    }

    #[test]
    fn bytes_stand_for_these_numbers() {
        for (byte, want) in [
            (0x00, 0.0),
            (0x01, 1.0 / 512.0),
            (0x07, 7.0 / 512.0),
            (0x08, 1.0 / 64.0),
            (0x38, 1.0),
            (0xb9, -1.125),
            (0x7e, 448.0),
        ] {
            assert_eq!(fp8(byte), want, "{byte:02x}");
        }
        assert!(fp8(0x7f).is_nan() && fp8(0xff).is_nan() && power(255).is_nan());
        assert_eq!((power(127), power(128), power(126)), (1.0, 2.0, 0.5));
    }

    #[test]
    fn each_block_has_its_scale() {
        let sources = [(Dtype::F8E4M3, vec![2, 130]), (Dtype::F32, vec![1, 2])];
        let scales: Vec<u8> = [2f32, 3.0].iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let made = dequantise_fp8 {}.run(&sources, &[&[0x38; 260], &scales]);
        let want: Vec<f32> = (0..260).map(|i| if i % 130 < 128 { 2.0 } else { 3.0 }).collect();
        assert_eq!(bf16s(&made), want);

        let sources = [(Dtype::U8, vec![1, 1, 16]), (Dtype::U8, vec![1, 1])];
        assert_eq!(dequantise_mxfp4 {}.target(&sources).unwrap(), (Dtype::Bf16, vec![1, 32]));
        let made = dequantise_mxfp4 {}.run(&sources, &[&[0xa7; 16], &[128]]);
        assert_eq!(bf16s(&made)[..4], [12.0, -2.0, 12.0, -2.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        use Dtype::{Bf16, F8E4M3, F32, U8};
        let fp8: &dyn Compute = &dequantise_fp8 {};
        let mxfp4: &dyn Compute = &dequantise_mxfp4 {};
        for (op, weights, scales, says) in [
            (fp8, (Bf16, vec![2, 2]), (F32, vec![1, 1]), "not BF16 and F32"),
            (fp8, (F8E4M3, vec![4]), (F32, vec![1]), "should be a matrix"),
            (fp8, (F8E4M3, vec![129, 4]), (F32, vec![1, 1]), "have [2, 1] scales, not [1, 1]"),
            (mxfp4, (U8, vec![2, 8]), (U8, vec![2]), "should be 16"),
            (mxfp4, (U8, vec![2, 16]), (U8, vec![3]), "have [2] scales, not [3]"),
            (mxfp4, (U8, vec![16]), (U8, vec![]), "have [] scales"),
        ] {
            let refusal = op.target(&[weights, scales]).unwrap_err();
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    #[cfg(feature = "candle")]
    fn check(op: &dyn Compute, sources: &[Kind; 2], bytes: [&[u8]; 2]) {
        let tensor = |kind: &Kind, bytes: &[u8]| {
            let dtype = match kind.0 {
                Dtype::F8E4M3 => DType::F8E4M3,
                Dtype::U8 => DType::U8,
                _ => DType::F32,
            };
            Tensor::from_raw_buffer(bytes, dtype, &kind.1, &candle_core::Device::Cpu).unwrap()
        };
        let tensors = [tensor(&sources[0], bytes[0]), tensor(&sources[1], bytes[1])];
        let made = op.apply(&tensors).unwrap();
        assert_eq!(made.dims(), op.target(sources).unwrap().1);
        let made: Vec<bf16> = made.flatten_all().unwrap().to_vec1().unwrap();
        let ours = bf16s(&op.run(sources, &bytes));
        for (ours, theirs) in ours.iter().zip(&made) {
            let theirs = theirs.to_f32();
            let nan = ours.is_nan() && theirs.is_nan();
            assert!(nan || ours.to_bits() == theirs.to_bits(), "{ours} {theirs}");
        }
    }

    #[cfg(feature = "candle")]
    proptest! {
        #[test]
        fn both_forms_agree(
            rows in 1usize..140,
            columns in 1usize..140,
            seed in any::<u8>(),
            scale in -1e6f32..1e6,
        ) {
            let bytes: Vec<u8> = (0..rows * columns).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
            let blocks = [rows.div_ceil(BLOCK), columns.div_ceil(BLOCK)];
            let scales: Vec<u8> = (0..blocks[0] * blocks[1])
                .flat_map(|i| (scale / (i + 1) as f32).to_le_bytes())
                .collect();
            let sources =
                [(Dtype::F8E4M3, vec![rows, columns]), (Dtype::F32, blocks.to_vec())];
            check(&dequantise_fp8 {}, &sources, [&bytes, &scales]);

            let groups = rows.min(20);
            let bytes: Vec<u8> = (0..groups * 16).map(|i| (i as u8).wrapping_mul(29) ^ seed).collect();
            let scales: Vec<u8> = (0..groups).map(|i| seed.wrapping_add(7 * i as u8)).collect();
            let sources = [(Dtype::U8, vec![groups, 16]), (Dtype::U8, vec![groups])];
            check(&dequantise_mxfp4 {}, &sources, [&bytes, &scales]);
        }
    }
}

use crate::store::Dtype;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many values a cast changed beyond rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// Finite values that became infinite.
    pub to_infinity: u64,
    /// Values other than zero that became zero.
    pub to_zero: u64,
}

/// The losses of each output, counted from several threads.
pub(super) struct Tally(Vec<[AtomicU64; 2]>);

impl Tally {
    pub fn new(outputs: usize) -> Self {
        Tally((0..outputs).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect())
    }

    pub fn add(&self, output: usize, loss: Loss) {
        if loss != Loss::default() {
            self.0[output][0].fetch_add(loss.to_infinity, Ordering::Relaxed);
            self.0[output][1].fetch_add(loss.to_zero, Ordering::Relaxed);
        }
    }

    pub fn losses(&self) -> Vec<(usize, Loss)> {
        let load = |[infinity, zero]: &[AtomicU64; 2]| Loss {
            to_infinity: infinity.load(Ordering::Relaxed),
            to_zero: zero.load(Ordering::Relaxed),
        };
        let losses = self.0.iter().map(load).enumerate();
        losses.filter(|(_, loss)| *loss != Loss::default()).collect()
    }
}

/// A floating-point type as it lies in a file.
trait Float: Copy + Default {
    const SIZE: usize;
    fn load(bytes: &[u8]) -> Self;
    fn store(self, bytes: &mut [u8]);
    fn finite(self) -> bool;
    fn zero(self) -> bool;
}

macro_rules! float {
    ($($t:ty, $exponent:expr);*) => {$(
        impl Float for $t {
            const SIZE: usize = size_of::<$t>();
            #[inline(always)]
            fn load(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$t>()];
                raw.copy_from_slice(bytes);
                <$t>::from_le_bytes(raw)
            }
            #[inline(always)]
            fn store(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
            // By bits, without a branch: so that the loops below become vector instructions.
            #[inline(always)]
            fn finite(self) -> bool {
                self.to_bits() & $exponent != $exponent
            }
            #[inline(always)]
            fn zero(self) -> bool {
                self.to_bits() << 1 == 0
            }
        }
    )*};
}

float!(f64, 0x7ff0_0000_0000_0000; f32, 0x7f80_0000; f16, 0x7c00; bf16, 0x7f80);

/// Converts the elements of `from` into `to`, rounding to the nearest, ties to even, once; a NaN
/// stays one and becomes quiet. Both are little-endian, as in files.
///
/// Both are whole numbers of elements, as many in each; types other than those of
/// [`Dtype::is_castable`] convert to nothing.
///
/// ```
/// use connector_core::engine::cast;
/// use connector_core::store::Dtype;
///
/// let mut halves = [0; 4];
/// let doubles: Vec<u8> = [1.0f64, 1e300].iter().flat_map(|x| x.to_le_bytes()).collect();
/// let loss = cast(&doubles, Dtype::F64, &mut halves, Dtype::Bf16);
/// assert_eq!(halves, [0x80, 0x3f, 0x80, 0x7f]); // 1 and infinity
/// assert_eq!(loss.to_infinity, 1);
/// ```
pub fn cast(from: &[u8], source: Dtype, to: &mut [u8], target: Dtype) -> Loss {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { with_avx2(from, source, to, target) };
    }
    cast_any(from, source, to, target)
}

/// The same, compiled for vectors of 32 bytes where the baseline has 16. (Those of 64 measured no
/// better: the memory is the limit then.)
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(from: &[u8], source: Dtype, to: &mut [u8], target: Dtype) -> Loss {
    cast_any(from, source, to, target)
}

#[inline(always)]
fn cast_any(from: &[u8], source: Dtype, to: &mut [u8], target: Dtype) -> Loss {
    // f16 and bf16 widen to f32 without rounding, so going through it rounds once.
    match (source, target) {
        (Dtype::F64, Dtype::F32) => convert(from, to, each(|x: f64| x as f32)),
        (Dtype::F64, Dtype::F16) => convert(from, to, |from: &[f64], to: &mut [f16]| {
            to.convert_from_f32_slice(&singles(from, round_to_odd)[..from.len()]);
        }),
        (Dtype::F64, Dtype::Bf16) => {
            convert(from, to, each(|x: f64| bf16_from_f32(round_to_odd(x))))
        }
        (Dtype::F32, Dtype::F64) => convert(from, to, each(|x: f32| f64::from(x))),
        (Dtype::F32, Dtype::F16) => {
            convert(from, to, |from: &[f32], to: &mut [f16]| to.convert_from_f32_slice(from))
        }
        (Dtype::F32, Dtype::Bf16) => convert(from, to, each(bf16_from_f32)),
        (Dtype::F16, Dtype::F64) => convert(from, to, each(f16::to_f64)),
        (Dtype::F16, Dtype::F32) => {
            convert(from, to, |from: &[f16], to: &mut [f32]| from.convert_to_f32_slice(to))
        }
        (Dtype::F16, Dtype::Bf16) => convert(from, to, |from: &[f16], to: &mut [bf16]| {
            let mut wide = [0.0; BLOCK];
            from.convert_to_f32_slice(&mut wide[..from.len()]);
            each(bf16_from_f32)(&wide[..from.len()], to);
        }),
        (Dtype::Bf16, Dtype::F64) => convert(from, to, each(|x: bf16| f64::from(bf16_to_f32(x)))),
        (Dtype::Bf16, Dtype::F32) => convert(from, to, each(bf16_to_f32)),
        (Dtype::Bf16, Dtype::F16) => convert(from, to, |from: &[bf16], to: &mut [f16]| {
            to.convert_from_f32_slice(&singles(from, bf16_to_f32)[..from.len()]);
        }),
        _ if source == target && source.is_castable() => {
            to.copy_from_slice(from);
            Loss::default()
        }
        _ => Loss::default(),
    }
}

/// How many elements are converted at a time: little enough to stay in the nearest cache between
/// the loops, and to be counted in 32 bits.
const BLOCK: usize = 512;

/// Converts by blocks, and counts what is lost.
#[inline(always)]
fn convert<S: Float, T: Float>(from: &[u8], to: &mut [u8], f: impl Fn(&[S], &mut [T])) -> Loss {
    let (mut values, mut results) = ([S::default(); BLOCK], [T::default(); BLOCK]);
    let mut loss = Loss::default();
    for (from, to) in from.chunks(BLOCK * S::SIZE).zip(to.chunks_mut(BLOCK * T::SIZE)) {
        let elements = (from.len() / S::SIZE).min(to.len() / T::SIZE);
        let (values, results) = (&mut values[..elements], &mut results[..elements]);
        for (value, bytes) in values.iter_mut().zip(from.chunks_exact(S::SIZE)) {
            *value = S::load(bytes);
        }
        f(values, results);
        let (mut to_infinity, mut to_zero) = (0u32, 0u32);
        for (value, result) in values.iter().zip(results.iter()) {
            to_infinity += u32::from(value.finite() & !result.finite());
            to_zero += u32::from(result.zero() & !value.zero());
        }
        loss.to_infinity += u64::from(to_infinity);
        loss.to_zero += u64::from(to_zero);
        for (result, bytes) in results.iter().zip(to.chunks_exact_mut(T::SIZE)) {
            result.store(bytes);
        }
    }
    loss
}

/// Converts one element after the other.
#[inline(always)]
fn each<S: Float, T: Float>(f: impl Fn(S) -> T) -> impl Fn(&[S], &mut [T]) {
    #[inline(always)]
    move |from, to| from.iter().zip(to).for_each(|(from, to)| *to = f(*from))
}

/// A block by way of `f32`.
#[inline(always)]
fn singles<S: Float>(from: &[S], f: impl Fn(S) -> f32) -> [f32; BLOCK] {
    let mut wide = [0.0; BLOCK];
    each(f)(from, &mut wide[..from.len()]);
    wide
}

/// What `half` computes, without a branch.
#[inline(always)]
fn bf16_from_f32(x: f32) -> bf16 {
    let bits = x.to_bits();
    // Half of the last place, less if that one is even: a tie goes to the even neighbour.
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    let quiet = (bits >> 16) as u16 | 0x40;
    bf16::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded })
}

/// What `half` computes, without a branch.
#[inline(always)]
fn bf16_to_f32(x: bf16) -> f32 {
    let bits = x.to_bits();
    let quiet = if bits & 0x7fff > 0x7f80 { 0x40 } else { 0 };
    f32::from_bits(u32::from(bits | quiet) << 16)
}

/// `f64` to `f32` such that rounding the result again, to a type with at least two bits less, gives
/// what rounding once would: an inexact value is the neighbour whose last bit is 1, so it can be
/// neither a tie nor on its wrong side. (`half` rounds `f64` by what the processor has, and not
/// always to the nearest.)
#[inline(always)]
fn round_to_odd(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) == x || x.is_nan() {
        return near;
    }
    // The neighbour towards zero: where the conversion went away from zero, one step back.
    let away = f64::from(near).abs() > x.abs();
    let bits = near.to_bits() - u32::from(away);
    f32::from_bits(bits | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: f32, target: Dtype) -> (Vec<u8>, Loss) {
        let mut out = vec![0; target.bytes().unwrap() as usize];
        let loss = cast(&value.to_le_bytes(), Dtype::F32, &mut out, target);
        (out, loss)
    }

    #[test]
    fn rounds_to_even_and_counts_what_is_lost() {
        let bf = |bits: u16| bits.to_le_bytes().to_vec();
        for (value, want, infinity, zero) in [
            (1.0, 0x3f80, 0, 0),
            (f32::from_bits(0x3f80_8000), 0x3f80, 0, 0), // a tie goes to the even neighbour
            (f32::from_bits(0x3f81_8000), 0x3f82, 0, 0),
            (f32::MAX, 0x7f80, 1, 0),
            (f32::INFINITY, 0x7f80, 0, 0),
            (f32::from_bits(1), 0x0000, 0, 1),
            (-0.0, 0x8000, 0, 0),
        ] {
            let (bytes, loss) = one(value, Dtype::Bf16);
            assert_eq!(bytes, bf(want), "{value}");
            assert_eq!((loss.to_infinity, loss.to_zero), (infinity, zero), "{value}");
        }
        assert_eq!(one(70000.0, Dtype::F16).1.to_infinity, 1);
        assert_eq!(one(1e-10, Dtype::F16).1.to_zero, 1);
        assert_eq!(one(f32::NAN, Dtype::F16).1, Loss::default());
    }

    #[test]
    fn doubles_round_once() {
        for (bits, target, want) in [
            (0x3f7b_5000_0000_1000u64, Dtype::Bf16, 0x3bdbu16), // just above a tie
            (0x3f7b_5000_0000_0000, Dtype::Bf16, 0x3bda),       // a tie, to even
            (0xbfc9_55ff_ffc0_0000, Dtype::F16, 0xb255),        // just below a tie
            (0x7fef_ffff_ffff_ffff, Dtype::F16, 0x7c00),
            (0x0000_0000_0000_0001, Dtype::Bf16, 0x0000),
        ] {
            let mut out = [0; 2];
            cast(&bits.to_le_bytes(), Dtype::F64, &mut out, target);
            assert_eq!(u16::from_le_bytes(out), want, "{bits:016x} {target}");
        }
    }

    /// What `half` and the language make of one value, but for NaN, which must stay one.
    fn check_as_half(bits: u32, target: Dtype) {
        let value = f32::from_bits(bits);
        let (made, _) = one(value, target);
        let made = u16::from_le_bytes([made[0], made[1]]);
        let want = match target {
            Dtype::Bf16 => bf16::from_f32(value).to_bits(),
            _ => f16::from_f32(value).to_bits(),
        };
        assert_eq!(made, want, "{bits:08x} to {target}");
    }

    #[test]
    fn every_exponent_and_every_kind_of_remainder_rounds_as_in_half() {
        for high in 0..=u16::MAX {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                for target in [Dtype::Bf16, Dtype::F16] {
                    check_as_half(u32::from(high) << 16 | low, target);
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_value_rounds_as_in_half(bits: [u32; 64]) {
            for bits in bits {
                check_as_half(bits, Dtype::Bf16);
                check_as_half(bits, Dtype::F16);
            }
        }

        #[test]
        fn a_block_is_its_elements(
            bits in proptest::collection::vec(proptest::num::u32::ANY, 0..3 * BLOCK),
            target in 0usize..4,
        ) {
            let target = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::Bf16][target];
            let size = target.bytes().unwrap() as usize;
            let from: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            let (mut vector, mut plain) = (vec![0; bits.len() * size], vec![0; bits.len() * size]);
            let loss = cast(&from, Dtype::F32, &mut vector, target);
            let same = cast_any(&from, Dtype::F32, &mut plain, target);
            proptest::prop_assert_eq!((&vector, loss), (&plain, same));
            let mut sum = Loss::default();
            for (bits, want) in bits.iter().zip(vector.chunks(size)) {
                let (bytes, loss) = one(f32::from_bits(*bits), target);
                proptest::prop_assert_eq!(bytes, want);
                sum.to_infinity += loss.to_infinity;
                sum.to_zero += loss.to_zero;
            }
            proptest::prop_assert_eq!(sum, loss);
        }
    }

    #[test]
    fn every_half_value_widens_as_in_half() {
        for bits in 0..=u16::MAX {
            let bytes = bits.to_le_bytes();
            let mut wide = [0; 4];
            cast(&bytes, Dtype::Bf16, &mut wide, Dtype::F32);
            assert_eq!(wide, bf16::from_bits(bits).to_f32().to_le_bytes(), "{bits:04x}");
            cast(&bytes, Dtype::F16, &mut wide, Dtype::F32);
            assert_eq!(wide, f16::from_bits(bits).to_f32().to_le_bytes(), "{bits:04x}");
            let mut double = [0; 8];
            cast(&bytes, Dtype::Bf16, &mut double, Dtype::F64);
            assert_eq!(double, bf16::from_bits(bits).to_f64().to_le_bytes(), "{bits:04x}");
            cast(&bytes, Dtype::F16, &mut double, Dtype::F64);
            assert_eq!(double, f16::from_bits(bits).to_f64().to_le_bytes(), "{bits:04x}");
        }
    }

    #[test]
    fn every_half_value_survives_the_way_through_f32() {
        for half in [Dtype::F16, Dtype::Bf16] {
            let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            let mut wide = vec![0; bytes.len() * 2];
            let mut back = vec![0; bytes.len()];
            assert_eq!(cast(&bytes, half, &mut wide, Dtype::F32), Loss::default());
            assert_eq!(cast(&wide, Dtype::F32, &mut back, half), Loss::default());
            for (i, (a, b)) in bytes.chunks(2).zip(back.chunks(2)).enumerate() {
                let value = f16::from_bits(i as u16).to_f32();
                let nan = if half == Dtype::F16 { value.is_nan() } else { i & 0x7fff > 0x7f80 };
                assert!(nan || a == b, "{half} {i:04x}");
            }
        }
    }
}

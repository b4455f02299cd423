use crate::store::Dtype;
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
trait Float: Copy {
    const SIZE: usize;
    fn load(bytes: &[u8]) -> Self;
    fn store(self, bytes: &mut [u8]);
    fn finite(self) -> bool;
    fn zero(self) -> bool;
}

macro_rules! float {
    ($($t:ty, $zero:expr);*) => {$(
        impl Float for $t {
            const SIZE: usize = size_of::<$t>();
            fn load(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$t>()];
                raw.copy_from_slice(bytes);
                <$t>::from_le_bytes(raw)
            }
            fn store(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
            fn finite(self) -> bool {
                self.is_finite()
            }
            fn zero(self) -> bool {
                self == $zero
            }
        }
    )*};
}

float!(f64, 0.0; f32, 0.0; f16, f16::ZERO; bf16, bf16::ZERO);

/// Converts the elements of `from` into `to`, rounding to the nearest, ties to even, once.
///
/// Both are whole numbers of elements, as many in each; types other than those of
/// [`Dtype::is_castable`] convert to nothing.
pub(super) fn cast(from: &[u8], source: Dtype, to: &mut [u8], target: Dtype) -> Loss {
    macro_rules! to {
        ($s:ty, $($dtype:ident: $t:ty = $f:expr),*) => {
            match target {
                $(Dtype::$dtype => convert::<$s, $t>(from, to, $f),)*
                _ => Loss::default(),
            }
        };
    }
    match source {
        Dtype::F64 => to!(f64, F64: f64 = |x| x, F32: f32 = |x| x as f32,
            F16: f16 = |x| f16::from_f32(round_to_odd(x)),
            Bf16: bf16 = |x| bf16::from_f32(round_to_odd(x))),
        Dtype::F32 => to!(f32, F64: f64 = f64::from, F32: f32 = |x| x,
            F16: f16 = f16::from_f32, Bf16: bf16 = bf16::from_f32),
        // f16 and bf16 widen to f32 without rounding, so going through it rounds once.
        Dtype::F16 => to!(f16, F64: f64 = f16::to_f64, F32: f32 = f16::to_f32,
            F16: f16 = |x| x, Bf16: bf16 = |x| bf16::from_f32(x.to_f32())),
        Dtype::Bf16 => to!(bf16, F64: f64 = bf16::to_f64, F32: f32 = bf16::to_f32,
            F16: f16 = |x| f16::from_f32(x.to_f32()), Bf16: bf16 = |x| x),
        _ => Loss::default(),
    }
}

/// `f64` to `f32` such that rounding the result again, to a type with at least two bits less, gives
/// what rounding once would: an inexact value is the neighbour whose last bit is 1, so it can be
/// neither a tie nor on its wrong side. (`half` rounds `f64` by what the processor has, and not
/// always to the nearest.)
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

fn convert<S: Float, T: Float>(from: &[u8], to: &mut [u8], f: impl Fn(S) -> T) -> Loss {
    let mut loss = Loss::default();
    for (from, to) in from.chunks_exact(S::SIZE).zip(to.chunks_exact_mut(T::SIZE)) {
        let value = S::load(from);
        let converted = f(value);
        loss.to_infinity += u64::from(value.finite() & !converted.finite());
        loss.to_zero += u64::from(converted.zero() & !value.zero());
        converted.store(to);
    }
    loss
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

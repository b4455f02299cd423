use crate::store::Dtype;
use half::{bf16, f16};

/// Two elements of one type that differ, so that a reader sees that they do.
pub(super) fn show(dtype: Dtype, one: &[u8], other: &[u8]) -> (String, String) {
    let texts = [one, other].map(|bytes| text(dtype, bytes));
    match texts {
        [Some(one), Some(other)] if one != other => (one, other),
        // Not a number, twice: the bits tell them apart.
        [Some(a), Some(b)] => (format!("{a} ({})", hex(one)), format!("{b} ({})", hex(other))),
        _ => (hex(one), hex(other)),
    }
}

/// The value of an element, little-endian; `None` for types whose elements say nothing by
/// themselves.
fn text(dtype: Dtype, bytes: &[u8]) -> Option<String> {
    macro_rules! value {
        ($t:ty) => {
            <$t>::from_le_bytes(bytes.try_into().ok()?)
        };
    }
    Some(match dtype {
        Dtype::Bool | Dtype::U8 => value!(u8).to_string(),
        Dtype::I8 => value!(i8).to_string(),
        Dtype::I16 => value!(i16).to_string(),
        Dtype::U16 => value!(u16).to_string(),
        Dtype::I32 => value!(i32).to_string(),
        Dtype::U32 => value!(u32).to_string(),
        Dtype::I64 => value!(i64).to_string(),
        Dtype::U64 => value!(u64).to_string(),
        Dtype::F16 => format!("{:?}", value!(f16).to_f32()),
        Dtype::Bf16 => format!("{:?}", value!(bf16).to_f32()),
        Dtype::F32 => format!("{:?}", value!(f32)),
        Dtype::F64 => format!("{:?}", value!(f64)),
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().rev().map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_read_differently() {
        for (dtype, one, other, want) in [
            (Dtype::F32, 1.5f32.to_le_bytes(), (-0.0f32).to_le_bytes(), ("1.5", "-0.0")),
            (Dtype::F32, 0.0f32.to_le_bytes(), 1e-45f32.to_le_bytes(), ("0.0", "1e-45")),
            (
                Dtype::F32,
                0x7fc0_0000u32.to_le_bytes(),
                0x7fc0_0001u32.to_le_bytes(),
                ("NaN (0x7fc00000)", "NaN (0x7fc00001)"),
            ),
            (Dtype::I32, (-3i32).to_le_bytes(), 4i32.to_le_bytes(), ("-3", "4")),
        ] {
            let (a, b) = show(dtype, &one, &other);
            assert_eq!((a.as_str(), b.as_str()), want);
        }
        assert_eq!(show(Dtype::Bf16, &[0x80, 0x3f], &[0, 0]), ("1.0".into(), "0.0".into()));
        assert_eq!(show(Dtype::F8E4M3, &[1], &[2]), ("0x01".into(), "0x02".into()));
    }
}

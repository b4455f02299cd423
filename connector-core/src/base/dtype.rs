use std::fmt;
use std::str::FromStr;

/// The type of a tensor's elements, as safetensors names them.
///
/// candle has fewer: it cannot hold `BOOL`, `I8`, `U64`, `C64`, `F8_E5M2` and the `FNUZ` types.
/// Moving bytes needs only their size, so every type passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variants are the names that the format gives them")]
pub enum Dtype {
    Bool,
    F4,
    F6E2M3,
    F6E3M2,
    U8,
    I8,
    F8E5M2,
    F8E4M3,
    F8E5M2Fnuz,
    F8E4M3Fnuz,
    F8E8M0,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

/// Every type with its name in a safetensors header and its size in bits.
const TABLE: [(Dtype, &str, u64); 22] = [
    (Dtype::Bool, "BOOL", 8),
    (Dtype::F4, "F4", 4),
    (Dtype::F6E2M3, "F6_E2M3", 6),
    (Dtype::F6E3M2, "F6_E3M2", 6),
    (Dtype::U8, "U8", 8),
    (Dtype::I8, "I8", 8),
    (Dtype::F8E5M2, "F8_E5M2", 8),
    (Dtype::F8E4M3, "F8_E4M3", 8),
    (Dtype::F8E5M2Fnuz, "F8_E5M2FNUZ", 8),
    (Dtype::F8E4M3Fnuz, "F8_E4M3FNUZ", 8),
    (Dtype::F8E8M0, "F8_E8M0", 8),
    (Dtype::I16, "I16", 16),
    (Dtype::U16, "U16", 16),
    (Dtype::F16, "F16", 16),
    (Dtype::Bf16, "BF16", 16),
    (Dtype::I32, "I32", 32),
    (Dtype::U32, "U32", 32),
    (Dtype::F32, "F32", 32),
    (Dtype::C64, "C64", 64),
    (Dtype::F64, "F64", 64),
    (Dtype::I64, "I64", 64),
    (Dtype::U64, "U64", 64),
];

impl Dtype {
    /// All types.
    pub fn all() -> impl Iterator<Item = Dtype> {
        TABLE.iter().map(|row| row.0)
    }

    /// The name in a safetensors header, `BF16`.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The size of one element in bits.
    pub fn bits(self) -> u64 {
        TABLE[self as usize].2
    }

    /// The size of one element in bytes, or `None` where elements share bytes (`F4`, `F6`).
    pub fn bytes(self) -> Option<u64> {
        self.bits().is_multiple_of(8).then(|| self.bits() / 8)
    }

    /// The size of `elements` elements in bytes, or `None` if they do not fill whole bytes or the
    /// size does not fit in 64 bits.
    pub fn size(self, elements: u64) -> Option<u64> {
        let bits = elements.checked_mul(self.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Whether this is a type of less than 16 bits for scaled numbers: `F4`, `F6_*`, `F8_*`. Its
    /// elements are no weights without their scales.
    pub fn is_scaled(self) -> bool {
        self.name().starts_with('F') && self.bits() <= 8
    }

    /// Whether numbers may be cast to and from this type: `F64`, `F32`, `F16`, `BF16`.
    pub fn is_castable(self) -> bool {
        matches!(self, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is no dtype's name.
#[derive(Debug, thiserror::Error)]
#[error("unknown dtype `{0}`")]
pub struct UnknownDtype(String);

/// Parses a safetensors name.
impl FromStr for Dtype {
    type Err = UnknownDtype;

    fn from_str(name: &str) -> Result<Self, UnknownDtype> {
        let found = TABLE.iter().find(|row| row.1 == name);
        found.map(|row| row.0).ok_or_else(|| UnknownDtype(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants_and_names_are_those_of_safetensors() {
        for (i, dtype) in Dtype::all().enumerate() {
            assert_eq!(dtype as usize, i);
            assert_eq!(dtype.name().parse::<Dtype>().unwrap(), dtype);
            let theirs: safetensors::Dtype =
                serde_json::from_value(dtype.name().into()).expect("safetensors has it");
            assert_eq!(theirs.bitsize() as u64, dtype.bits(), "{dtype}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(Dtype::F4.size(4), Some(2));
        assert_eq!(Dtype::F4.size(3), None);
        assert_eq!(Dtype::F6E2M3.size(4), Some(3));
        assert_eq!(Dtype::U64.size(u64::MAX), None);
    }
}

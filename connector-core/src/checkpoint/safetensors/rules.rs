//! What holds for every tensor, read or written: a decent name and a size in whole bytes.

use super::METADATA;
use crate::store::Dtype;

/// Longer than any framework's names, shorter than what would make a message unreadable.
const MAX_NAME: usize = 4096;

/// The most dimensions: as many as torch has.
pub(super) const MOST_DIMENSIONS: usize = 64;

/// So many tensors are taken whatever they hold, and one more for so many bytes of data: those of the
/// smallest models have more on average, with all scales that are a single number. What tensors take in
/// memory, a thousand bytes each until they are converted, thus follows the size of the checkpoint.
const TENSORS_ANYWAY: u64 = 1 << 16;
const BYTES_PER_TENSOR: u64 = 256;

/// The most tensors in so many bytes of data.
pub(in crate::checkpoint) fn most_tensors(data: u64) -> u64 {
    TENSORS_ANYWAY + data / BYTES_PER_TENSOR
}

/// Why a tensor is refused, whatever file it is in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTensor {
    /// It has no name.
    #[error("a tensor has an empty name")]
    EmptyName,
    /// Its name is over 4096 bytes long.
    #[error("the name of tensor `{}` has {} bytes; at most {MAX_NAME} are allowed", shown(name), name.len())]
    LongName {
        /// The name.
        name: String,
    },
    /// Its name contains a control character.
    #[error("the name of tensor `{}` contains a control character", shown(name))]
    ControlInName {
        /// The name.
        name: String,
    },
    /// Its name is the header's key for metadata.
    #[error("a tensor cannot be called `{METADATA}`: the header's metadata is")]
    ReservedName,
    /// It has more dimensions than any framework's.
    #[error("tensor `{}` has more than {MOST_DIMENSIONS} dimensions", shown(name))]
    Dimensions {
        /// The name.
        name: String,
    },
    /// Its size does not fit in 64 bits.
    #[error("the size of tensor `{}`, {dtype} {shape:?}, does not fit in 64 bits", shown(name))]
    Overflow {
        /// The tensor.
        name: String,
        /// The type of its elements.
        dtype: Dtype,
        /// Its dimensions.
        shape: Vec<usize>,
    },
    /// Its elements are smaller than a byte and do not fill the last one.
    #[error("tensor `{}`, {dtype} {shape:?}, does not fill whole bytes", shown(name))]
    PartialByte {
        /// The tensor.
        name: String,
        /// The type of its elements.
        dtype: Dtype,
        /// Its dimensions.
        shape: Vec<usize>,
    },
}

/// The tensor's size in bytes, if all is well with it.
pub(super) fn size_of(name: &str, dtype: Dtype, shape: &[usize]) -> Result<u64, InvalidTensor> {
    if name.is_empty() {
        return Err(InvalidTensor::EmptyName);
    }
    if name == METADATA {
        return Err(InvalidTensor::ReservedName);
    }
    if name.len() > MAX_NAME {
        return Err(InvalidTensor::LongName { name: name.into() });
    }
    // By bytes where it can be: a plan asks it of 100,000 names.
    let has_control = match name.is_ascii() {
        true => name.bytes().any(|byte| byte.is_ascii_control()),
        false => name.contains(char::is_control),
    };
    if has_control {
        return Err(InvalidTensor::ControlInName { name: name.into() });
    }
    if shape.len() > MOST_DIMENSIONS {
        return Err(InvalidTensor::Dimensions { name: name.into() });
    }
    // Zeros are left out at first, so that no part of the shape overflows: others multiply it in
    // another order.
    let volume = shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim.max(1) as u64));
    let Some(bits) = volume.and_then(|n| n.checked_mul(dtype.bits())) else {
        return Err(InvalidTensor::Overflow { name: name.into(), dtype, shape: shape.into() });
    };
    if shape.contains(&0) {
        return Ok(0);
    }
    if !bits.is_multiple_of(8) {
        return Err(InvalidTensor::PartialByte { name: name.into(), dtype, shape: shape.into() });
    }
    Ok(bits / 8)
}

/// A text from a file, made fit for a message: escaped, and cut where it is long.
pub(in crate::checkpoint) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// A number of bytes, for a message.
pub(super) fn byte_count(n: u64) -> String {
    format!("{n} byte{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases: [(Dtype, &[usize], Option<u64>); 9] = [
            (Dtype::F32, &[], Some(4)),
            (Dtype::F32, &[0], Some(0)),
            (Dtype::Bf16, &[2, 3], Some(12)),
            (Dtype::F4, &[3], None),
            (Dtype::F4, &[3, 2], Some(3)),
            (Dtype::F4, &[3, 0], Some(0)),
            (Dtype::U8, &[usize::MAX, 2], None),
            (Dtype::U8, &[0, usize::MAX, 2], None),
            (Dtype::U64, &[usize::MAX / 4], None),
        ];
        for (dtype, shape, size) in cases {
            assert_eq!(size_of("x", dtype, shape).ok(), size, "{dtype} {shape:?}");
        }
    }

    #[test]
    fn names() {
        let size = |name: &str| size_of(name, Dtype::U8, &[]);
        assert_eq!(size(""), Err(InvalidTensor::EmptyName));
        assert_eq!(size(METADATA), Err(InvalidTensor::ReservedName));
        assert!(matches!(size("a\nb"), Err(InvalidTensor::ControlInName { .. })));
        assert!(matches!(size(&"x".repeat(4097)), Err(InvalidTensor::LongName { .. })));
        assert_eq!(size(&"x".repeat(4096)), Ok(1));
        assert_eq!(size("日本語 …/.."), Ok(1));
    }

    #[test]
    fn hostile_texts_are_shown_escaped_and_short() {
        assert_eq!(shown("model.norm.weight"), "model.norm.weight");
        assert_eq!(shown("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 121);
    }
}

use super::FileId;
use std::ops::Range;

/// Bytes of a file that lie together and may have been written with a checksum: a piece of a tensor
/// in a distributed checkpoint, a storage of `torch.save`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The tensor, or of several that share a storage the first.
    pub tensor: String,
    /// The file.
    pub file: FileId,
    /// Where in the file they lie.
    pub bytes: Range<u64>,
    /// The CRC-32 that was written with them; `None` if there is none.
    pub crc: Option<u32>,
}

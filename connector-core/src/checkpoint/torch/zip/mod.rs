//! The zip archives that `torch.save` writes, of which a `.distcp` file is a sequence.
//!
//! ```text
//! ┌──────────────────────────────┐ 0                    all offsets count from here, the record's
//! │ PK 03 04  archive/data.pkl   │                      first byte in its file
//! │           the pickle         │
//! ├──────────────────────────────┤
//! │ PK 03 04  archive/byteorder  │ little
//! │ PK 03 04  archive/version    │ 3
//! ├──────────────────────────────┤
//! │ PK 03 04  archive/data/0     │ with an extra field `FB` that fills up to a multiple of 64
//! │           the tensor         │ <- a multiple of 64
//! │ PK 07 08  CRC and sizes      │ behind the data, because a stream knows the CRC only then
//! ├──────────────────────────────┤
//! │ PK 01 02  4 × an entry       │ the central directory: the CRCs and sizes that count
//! │ PK 05 06  the end            │ where the directory is; last in the record
//! └──────────────────────────────┘
//! ```
//!
//! All members are stored, not compressed: torch reads a tensor at its place in the file.
//!
//! What says how to read others, `data.pkl` say, is held against its CRC here, whenever it is read; the
//! data of tensors where they are read, by [`checksums`](crate::checkpoint::checksums).
//!
//! A CRC of 0 is none. torch writes it into every entry if it is asked not to compute any
//! (`torch.serialization.set_crc32_options`), and into those of storages whose bytes come later
//! (`torch.serialization.skip_data`, `write_record_metadata` of its `PyTorchFileWriter`). Of 2³²
//! members one has the CRC 0 and is not checked.

mod read;
mod write;

pub(crate) use crc32fast::{Hasher as Crc, hash as crc32};
pub use read::ZipError;
pub(crate) use read::{Archive, Member};
pub(crate) use write::{Frame, frame, objects, with_tensors};

/// `PK 03 04`: before each member.
const LOCAL: u32 = 0x0403_4b50;
/// `PK 07 08`: behind a member whose CRC was not known before.
const DESCRIPTOR: u32 = 0x0807_4b50;
/// `PK 01 02`: an entry of the central directory.
const CENTRAL: u32 = 0x0201_4b50;
/// `PK 05 06`: the end of the central directory.
const END: u32 = 0x0605_4b50;
/// `PK 06 06`: the same with numbers of 64 bits.
const END64: u32 = 0x0606_4b50;
/// `PK 06 07`: where that is.
const LOCATOR64: u32 = 0x0706_4b50;

/// Lengths of the fixed parts.
const LOCAL_LEN: u64 = 30;
const CENTRAL_LEN: u64 = 46;
const END_LEN: u64 = 22;
const END64_LEN: u64 = 56;
const LOCATOR64_LEN: u64 = 20;

use super::{
    CENTRAL, CENTRAL_LEN, END, END_LEN, END64, END64_LEN, LOCAL, LOCAL_LEN, LOCATOR64,
    LOCATOR64_LEN, crc32,
};
use crate::checkpoint::safetensors::shown;
use crate::store::positioned::read_exact_at;
use std::fs::File;
use std::io;
use std::ops::Range;

/// The end of a zip may carry a comment of up to 65 535 bytes.
const LONGEST_COMMENT: u64 = 65_535;
/// How much of the end is read at first: the ends of archives without a comment.
const USUAL_END: u64 = 4096;
/// The longest central directory. An entry takes about 80 bytes; the record of a tensor has 4 to 8
/// of them, the file of a model one for each tensor.
const LONGEST_DIRECTORY: u64 = 64 << 20;

/// What torch's files of before 1.6 begin with: the pickle of a number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// In a field of 32 bits: the number stands in the long form.
const LONG: u64 = u32::MAX as u64;

/// Why a record is no zip archive as torch writes them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZipError {
    /// The record does not end as a zip does.
    #[error("it is no zip archive: its end is not there; was the file cut off?")]
    NoEnd,
    /// Something lies outside of the record, or its numbers contradict each other.
    #[error("the zip archive is malformed: {0}")]
    Malformed(&'static str),
    /// A member is compressed or encrypted.
    #[error("`{}` is compressed or encrypted; torch stores its members as they are", shown(.0))]
    NotStored(String),
    /// It is what torch wrote before it took to zip.
    #[error(
        "it is in torch's format of before 1.6, which no distributed checkpoint is written in; load \
         and save it with a later torch"
    )]
    Legacy,
    /// A member is not what was written.
    #[error(
        "`{}` has the CRC {found:08x}, and should have {crc:08x}: bytes of the file changed",
        shown(name)
    )]
    Crc {
        /// The member.
        name: String,
        /// The CRC in the directory.
        crc: u32,
        /// That of the bytes that are there.
        found: u32,
    },
    /// A member is missing.
    #[error("the zip archive has no `{0}`")]
    Missing(&'static str),
    /// The system refused.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

impl ZipError {
    /// Whether the system refused to read, which says nothing of the archive. A file that ends too
    /// early is at fault itself.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof)
    }
}

/// A zip archive within a file.
pub(crate) struct Archive<'f> {
    file: &'f File,
    members: Vec<Member>,
}

/// A member: its name, without the folder that all are in, and where it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub name: String,
    pub data: Range<u64>,
    crc: u32,
}

type Result<T, E = ZipError> = std::result::Result<T, E>;

impl<'f> Archive<'f> {
    /// Reads the directory of the archive that is the bytes `record` of `file`, which has them.
    pub fn open(file: &'f File, record: Range<u64>) -> Result<Self> {
        let view = View { file, record };
        let (directory, count) = view.directory()?;
        if directory.end - directory.start > LONGEST_DIRECTORY {
            return Err(ZipError::Malformed("its directory is longer than 64 MiB"));
        }
        let bytes = view.read(directory.clone())?;
        let mut members = Vec::new();
        let mut rest = &bytes[..];
        for _ in 0..count {
            let entry = Entry::parse(&mut rest)?;
            members.push(view.member(entry, directory.start)?);
        }
        let mut spans: Vec<_> = members.iter().map(|(_, span)| span.clone()).collect();
        spans.sort_unstable_by_key(|span| span.start);
        if spans.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err(ZipError::Malformed("two members overlap"));
        }
        Ok(Archive { file, members: members.into_iter().map(|(member, _)| member).collect() })
    }

    /// The member `name`, `data.pkl`.
    pub fn member(&self, name: &'static str) -> Result<&Member> {
        let found = self.members.iter().find(|member| member.name == name);
        found.ok_or(ZipError::Missing(name))
    }

    /// All members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The bytes of a member of at most `most` bytes, if they are those that were written.
    pub fn read(&self, member: &Member, most: u64) -> Result<Vec<u8>> {
        let len = member.data.end - member.data.start;
        if len > most {
            return Err(ZipError::Malformed("a member is longer than it can be"));
        }
        let mut bytes = vec![0; len as usize];
        read_exact_at(self.file, &mut bytes, member.data.start)?;
        member.check(crc32(&bytes))?;
        Ok(bytes)
    }
}

impl Member {
    /// Its CRC; `None` if none was computed.
    pub fn crc(&self) -> Option<u32> {
        (self.crc != 0).then_some(self.crc)
    }

    /// Passes if `found` is the CRC of its bytes, or none was computed.
    fn check(&self, found: u32) -> Result<()> {
        match self.crc() {
            Some(crc) if crc != found => Err(ZipError::Crc { name: self.name.clone(), crc, found }),
            _ => Ok(()),
        }
    }
}

/// The bytes of one archive.
struct View<'f> {
    file: &'f File,
    record: Range<u64>,
}

impl View<'_> {
    fn len(&self) -> u64 {
        self.record.end - self.record.start
    }

    /// Reads a range that counts from the record's start.
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len() {
            return Err(ZipError::Malformed("something lies outside of it"));
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        read_exact_at(self.file, &mut bytes, self.record.start + range.start)?;
        Ok(bytes)
    }

    /// Where the central directory is and how many entries it has.
    fn directory(&self) -> Result<(Range<u64>, u64)> {
        let (end, bytes) = self.end()?;
        let mut fields = Fields(&bytes[4..]);
        let (disk, first_disk, here, count) =
            (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
        let (size, offset) = (fields.u32()?, fields.u32()?);
        if disk != 0 && disk != u16::MAX || first_disk != 0 && first_disk != u16::MAX {
            return Err(ZipError::Malformed("it goes over several files"));
        }
        let (mut size, mut offset, mut count) = (u64::from(size), u64::from(offset), count.into());
        // torch always writes the long form too, and relies on it where a number does not fit.
        if size == LONG || offset == LONG || here == u16::MAX {
            (size, offset, count) = self.end64(end)?;
        }
        let directory = offset..offset.checked_add(size).ok_or(ZipError::NoEnd)?;
        if directory.end > end {
            return Err(ZipError::Malformed("its directory lies outside of it"));
        }
        if count > size / CENTRAL_LEN {
            return Err(ZipError::Malformed("its directory has fewer entries than it says"));
        }
        Ok((directory, count))
    }

    /// The end record: where it is and its bytes.
    fn end(&self) -> Result<(u64, Vec<u8>)> {
        for tail in [USUAL_END, LONGEST_COMMENT + END_LEN] {
            let tail = tail.min(self.len());
            let start = self.len() - tail;
            let bytes = self.read(start..self.len())?;
            let places = (0..(bytes.len() + 1).saturating_sub(END_LEN as usize)).rev();
            for at in places {
                let found = &bytes[at..];
                let comment = u64::from(u16::from_le_bytes([found[20], found[21]]));
                if found.starts_with(&END.to_le_bytes()) && comment == found.len() as u64 - END_LEN
                {
                    return Ok((start + at as u64, found[..END_LEN as usize].to_vec()));
                }
            }
        }
        let begins = self.read(0..self.len().min(LEGACY.len() as u64))?;
        Err(if begins == LEGACY { ZipError::Legacy } else { ZipError::NoEnd })
    }

    /// Size, offset and number of entries from the end record of 64 bits, which stands before the
    /// one at `end`.
    fn end64(&self, end: u64) -> Result<(u64, u64, u64)> {
        let wrong = ZipError::Malformed("its long end is not where it says");
        let Some(locator) = end.checked_sub(LOCATOR64_LEN) else { return Err(wrong) };
        let bytes = self.read(locator..end)?;
        let mut fields = Fields(&bytes);
        if fields.u32()? != LOCATOR64 {
            return Err(wrong);
        }
        fields.u32()?;
        let at = fields.u64()?;
        let bytes = self.read(at..at.checked_add(END64_LEN).ok_or(ZipError::NoEnd)?)?;
        let mut fields = Fields(&bytes);
        if fields.u32()? != END64 || at + END64_LEN > locator {
            return Err(wrong);
        }
        fields.skip(8 + 2 + 2 + 4 + 4 + 8)?;
        let (count, size, offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
        Ok((size, offset, count))
    }

    /// A member, and the span that it takes with its header. `limit` is where the directory begins.
    fn member(&self, entry: Entry, limit: u64) -> Result<(Member, Range<u64>)> {
        let Entry { name, crc, size, local, stored } = entry;
        if !stored {
            return Err(ZipError::NotStored(name));
        }
        let header_end = local.checked_add(LOCAL_LEN).ok_or(ZipError::NoEnd)?;
        let header = self.read(local..header_end)?;
        let mut fields = Fields(&header);
        if fields.u32()? != LOCAL {
            return Err(ZipError::Malformed("a member is not where its directory says"));
        }
        fields.skip(22)?;
        let (name_len, extra_len) = (u64::from(fields.u16()?), u64::from(fields.u16()?));
        let name_end = header_end + name_len;
        if self.read(header_end..name_end)? != name.as_bytes() {
            return Err(ZipError::Malformed("a member has another name than in its directory"));
        }
        let start = name_end + extra_len;
        let end = start.checked_add(size).filter(|&end| end <= limit);
        let end = end.ok_or(ZipError::Malformed("a member lies outside of it"))?;
        // All members are in one folder, whose name says nothing.
        let name = name.split_once('/').map_or(name.as_str(), |(_, name)| name).to_string();
        let from = self.record.start;
        Ok((Member { name, data: from + start..from + end, crc }, local..end))
    }
}

/// An entry of the central directory.
struct Entry {
    name: String,
    crc: u32,
    size: u64,
    local: u64,
    stored: bool,
}

impl Entry {
    fn parse(rest: &mut &[u8]) -> Result<Self> {
        let mut fields = Fields(rest);
        if fields.u32()? != CENTRAL {
            return Err(ZipError::Malformed("its directory has fewer entries than it says"));
        }
        fields.skip(4)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.skip(4)?;
        let crc = fields.u32()?;
        let (packed, size) = (fields.u32()?, fields.u32()?);
        let lens = (fields.u16()?, fields.u16()?, fields.u16()?);
        fields.skip(8)?;
        let local = fields.u32()?;
        let name = String::from_utf8_lossy(fields.take(lens.0.into())?).into_owned();
        let extra = fields.take(lens.1.into())?;
        fields.take(lens.2.into())?;
        *rest = fields.0;
        let wide = Wide { size: size.into(), packed: packed.into(), local: local.into() };
        let Wide { size, packed, local } = wide.widened(extra)?;
        // Bit 0: encrypted; bit 6: strongly.
        let stored = method == 0 && flags & 0x41 == 0 && packed == size;
        Ok(Entry { name, crc, size, local, stored })
    }
}

/// The numbers that may not fit in 32 bits.
struct Wide {
    size: u64,
    packed: u64,
    local: u64,
}

impl Wide {
    /// Takes from the extra field 1 those numbers that are all ones.
    fn widened(mut self, extra: &[u8]) -> Result<Self> {
        let mut fields = Fields(extra);
        while fields.0.len() >= 4 {
            let (kind, len) = (fields.u16()?, fields.u16()?);
            let mut field = Fields(fields.take(len.into())?);
            if kind == 1 {
                for number in [&mut self.size, &mut self.packed, &mut self.local] {
                    if *number == LONG {
                        *number = field.u64()?;
                    }
                }
            }
        }
        Ok(self)
    }
}

/// Numbers from first to last, little-endian.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let cut = ZipError::Malformed("it ends inside a header");
        let (taken, rest) = self.0.split_at_checked(len).ok_or(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        self.take(len).map(drop)
    }

    fn number(&mut self, len: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(self.take(len)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn u16(&mut self) -> Result<u16> {
        self.number(2).map(|n| n as u16)
    }

    fn u32(&mut self) -> Result<u32> {
        self.number(4).map(|n| n as u32)
    }

    fn u64(&mut self) -> Result<u64> {
        self.number(8)
    }
}

#[cfg(test)]
mod tests;

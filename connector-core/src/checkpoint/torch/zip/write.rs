use super::{CENTRAL, DESCRIPTOR, END, LOCAL, crc32};

/// The data of a tensor begins at a multiple of this within its record, as torch's does: a cache
/// line.
const ALIGNMENT: usize = 64;
/// All members are in a folder; torch takes its name from the first entry of the directory.
const FOLDER: &str = "archive";
/// The kind of the extra field that fills up to the alignment: torch's own, `FB`.
const FILL: &[u8; 2] = b"FB";
/// Flag 11: names are UTF-8.
const UTF8: u16 = 0x800;
/// Flag 3: CRC and sizes stand behind the data.
const BEHIND: u16 = 0x8;

/// A member that is known whole.
pub(crate) struct Content<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// The bytes around the data of a tensor, which are known before the data but for its CRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Everything before the data.
    pub head: Vec<u8>,
    /// Everything behind it, with zeros for the CRC.
    pub tail: Vec<u8>,
    /// Where in the tail the CRC stands: in the descriptor and in the directory.
    pub crc_at: [usize; 2],
}

/// An entry of the directory.
struct Entry {
    name: String,
    flags: u16,
    crc: u32,
    size: u32,
    local: u32,
}

/// The members whose content never changes.
const CONSTANT: [Content<'static>; 2] = [
    Content { name: "byteorder", bytes: b"little" },
    // The version of torch's layout of the archive, not of torch.
    Content { name: "version", bytes: b"3\n" },
];

/// An archive of a pickle alone.
pub(crate) fn objects(pickle: &[u8]) -> Vec<u8> {
    with_tensors(pickle, &[])
}

/// An archive of a pickle and the storages that it names `0`, `1`…, which are small.
pub(crate) fn with_tensors(pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<_> = (0..storages.len()).map(|number| format!("data/{number}")).collect();
    let pickle = Content { name: "data.pkl", bytes: pickle };
    let storages = names.iter().zip(storages).map(|(name, bytes)| Content { name, bytes });
    let (mut bytes, entries) = members([pickle].into_iter().chain(CONSTANT).chain(storages));
    let start = bytes.len();
    directory(&mut bytes, start, start, &entries);
    bytes
}

/// The frame around `size` bytes of a tensor that `pickle` describes. `size` is below 4 GiB.
pub(crate) fn frame(pickle: &[u8], size: u32) -> Frame {
    let pickle = Content { name: "data.pkl", bytes: pickle };
    let (mut head, mut entries) = members([pickle].into_iter().chain(CONSTANT));
    let entry = Entry {
        name: format!("{FOLDER}/data/0"),
        flags: UTF8 | BEHIND,
        crc: 0,
        size,
        local: head.len() as u32,
    };
    // The extra field has a head of its own, four bytes.
    let before = head.len() + 30 + entry.name.len() + 4;
    let fill = before.next_multiple_of(ALIGNMENT) - before;
    let lens = (entry.name.len() as u16, fill as u16 + 4);
    local_header(&mut head, entry.flags, (0, 0), lens);
    head.extend(entry.name.as_bytes());
    head.extend(FILL);
    head.extend((fill as u16).to_le_bytes());
    head.resize(head.len() + fill, b'Z');

    let mut tail = Vec::new();
    for field in [DESCRIPTOR, 0, size, size] {
        tail.extend(field.to_le_bytes());
    }
    entries.push(entry);
    let start = tail.len();
    let last = directory(&mut tail, start, head.len() + size as usize + start, &entries);
    // In the descriptor behind its signature; in an entry behind 16 bytes of other fields.
    Frame { head, tail, crc_at: [4, last + 16] }
}

/// Members that are known whole.
fn members<'a>(contents: impl Iterator<Item = Content<'a>>) -> (Vec<u8>, Vec<Entry>) {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for Content { name, bytes: content } in contents {
        let entry = Entry {
            name: format!("{FOLDER}/{name}"),
            flags: UTF8,
            crc: crc32(content),
            size: content.len() as u32,
            local: bytes.len() as u32,
        };
        let lens = (entry.name.len() as u16, 0);
        local_header(&mut bytes, entry.flags, (entry.crc, entry.size), lens);
        bytes.extend(entry.name.as_bytes());
        bytes.extend(content);
        entries.push(entry);
    }
    (bytes, entries)
}

/// The header before a member. Version, method (stored), time and date are zero: the same tensors
/// make the same bytes.
fn local_header(out: &mut Vec<u8>, flags: u16, (crc, size): (u32, u32), lens: (u16, u16)) {
    out.extend(LOCAL.to_le_bytes());
    out.extend(shorts([0, flags, 0, 0, 0]));
    out.extend([crc, size, size].map(u32::to_le_bytes).as_flattened());
    out.extend(shorts([lens.0, lens.1]));
}

/// Appends the central directory and the end. `offset` is where in the record the directory begins.
/// Returns where in `out` the last entry begins.
fn directory(out: &mut Vec<u8>, start: usize, offset: usize, entries: &[Entry]) -> usize {
    let mut last = start;
    for Entry { name, flags, crc, size, local } in entries {
        last = out.len();
        out.extend(CENTRAL.to_le_bytes());
        // Made by, needed version, flags, method, time, date.
        out.extend(shorts([0, 0, *flags, 0, 0, 0]));
        out.extend([*crc, *size, *size].map(u32::to_le_bytes).as_flattened());
        // The lengths of name, extra field and comment; disk, attributes.
        out.extend(shorts([name.len() as u16, 0, 0, 0, 0, 0, 0]));
        out.extend(local.to_le_bytes());
        out.extend(name.as_bytes());
    }
    let (count, size) = (entries.len() as u16, (out.len() - start) as u32);
    out.extend(END.to_le_bytes());
    out.extend(shorts([0, 0, count, count]));
    out.extend([size, offset as u32].map(u32::to_le_bytes).as_flattened());
    out.extend(shorts([0]));
    last
}

fn shorts<const N: usize>(values: [u16; N]) -> impl Iterator<Item = u8> {
    values.into_iter().flat_map(u16::to_le_bytes)
}

use super::super::{Frame, frame, objects};
use super::*;
use std::io::Write;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A record around the four bytes of `data`.
fn record(data: &[u8; 4]) -> Vec<u8> {
    let Frame { head, tail, .. } = frame(b"pickle", 4);
    [&head[..], data, &tail].concat()
}

fn problem(bytes: &[u8]) -> String {
    let opened = Archive::open(&file(bytes), 0..bytes.len() as u64).err();
    opened.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn what_is_written_is_read_wherever_it_lies() {
    let bytes = [&[7; 100][..], &record(b"abcd"), &[8; 100]].concat();
    let file = file(&bytes);
    let archive = Archive::open(&file, 100..bytes.len() as u64 - 100).unwrap();
    let member = |name| archive.member(name).unwrap();
    assert_eq!(archive.read(member("data.pkl"), 100).unwrap(), b"pickle");
    assert_eq!(archive.read(member("data/0"), 100).unwrap(), b"abcd");
    assert_eq!(archive.read(member("version"), 100).unwrap(), b"3\n");
    assert_eq!((member("data/0").data.start - 100) % 64, 0);
    assert!(archive.read(member("data/0"), 3).is_err());
    assert!(matches!(archive.member("data/1"), Err(ZipError::Missing("data/1"))));
}

#[test]
fn an_archive_of_a_pickle_alone() {
    let bytes = objects(b"pickle");
    let file = file(&bytes);
    let archive = Archive::open(&file, 0..bytes.len() as u64).unwrap();
    let member = archive.member("data.pkl").unwrap();
    assert_eq!(archive.read(member, 6).unwrap(), b"pickle");
    assert_eq!(member.crc, crc32(b"pickle"));
}

#[test]
fn small_members_are_held_against_their_crc() {
    let mut bytes = objects(b"pickle");
    let at = bytes.windows(6).position(|w| w == b"pickle").unwrap();
    bytes[at] = b'P';
    let read = |bytes: &[u8]| {
        let file = file(bytes);
        let archive = Archive::open(&file, 0..bytes.len() as u64).unwrap();
        archive.read(archive.member("data.pkl").unwrap(), 6)
    };
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains("`data.pkl` has the CRC") && error.contains("changed"), "{error}");
    // Without one there is nothing to hold it against.
    let crc = crc32(b"pickle").to_le_bytes();
    let last = bytes.windows(4).rposition(|w| w == crc).unwrap();
    bytes[last..last + 4].fill(0);
    assert_eq!(read(&bytes).unwrap(), b"Pickle");
}

#[test]
fn a_file_of_before_zip_is_told_as_such() {
    let bytes = [LEGACY, b"\x80\x02M\xe9\x03."].concat();
    assert!(problem(&bytes).contains("before 1.6"), "{}", problem(&bytes));
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    let whole = record(b"abcd");
    for len in 0..whole.len() {
        assert_ne!(problem(&whole[..len]), "", "{len}");
    }
    assert_eq!(problem(&whole), "");
}

#[test]
fn headers_that_lie_are_refused() {
    let whole = record(b"abcd");
    let Frame { head, .. } = frame(b"pickle", 4);
    let directory = head.len() + 4 + 16;
    let end = whole.len() - 22;
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        problem(&bytes)
    };
    for (at, with, want) in [
        // The end.
        (end + 4, &[1, 0][..], "several files"),
        (end + 8, &[5, 0, 5, 0], "ends inside a header"),
        (end + 8, &[9, 0, 9, 0], "fewer entries"),
        (end + 12, &[0xff; 3], "outside"),
        (end + 16, &[0, 0, 0, 0], "fewer entries"),
        (end + 16, &[0xff; 4], "long end"),
        // The first entry: flags, method, packed size, size, offset.
        (directory + 8, &[1], "compressed or encrypted"),
        (directory + 10, &[8], "compressed or encrypted"),
        (directory + 20, &[1], "compressed or encrypted"),
        (directory + 20, &[0x40, 0, 0, 0, 0x40], "overlap"),
        (directory + 20, &[0xf0, 0xff, 0, 0, 0xf0, 0xff], "outside"),
        (directory + 42, &[0xff, 0xff, 0xff], "outside"),
        (directory + 42, &[1], "not where"),
        // Its name there, and the name before the member.
        (directory + 46, b"x", "another name"),
        (30, b"x", "another name"),
    ] {
        let problem = changed(at, with);
        assert!(problem.contains(want), "{at} {with:?}: {problem}");
    }
}

#[test]
fn the_long_form_is_read() {
    // As torch writes it for 4 GiB and more, here around four bytes.
    let name = b"archive/data/0";
    let mut bytes = Vec::new();
    bytes.extend(LOCAL.to_le_bytes());
    bytes.extend([0; 22]);
    bytes.extend([name.len() as u8, 0, 0, 0]);
    bytes.extend(name);
    bytes.extend(b"abcd");
    let directory = bytes.len() as u64;
    bytes.extend(CENTRAL.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend([0xff; 8]);
    bytes.extend([name.len() as u8, 0, 28, 0]);
    bytes.extend([0; 10]);
    bytes.extend([0xff; 4]);
    bytes.extend(name);
    bytes.extend([1, 0, 24, 0]);
    for number in [4u64, 4, 0] {
        bytes.extend(number.to_le_bytes());
    }
    let at = bytes.len() as u64;
    bytes.extend(END64.to_le_bytes());
    bytes.extend([0; 28]);
    for number in [1, at - directory, directory] {
        bytes.extend(u64::to_le_bytes(number));
    }
    bytes.extend(LOCATOR64.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(at.to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(END.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0xff; 12]);
    bytes.extend([0, 0]);
    let file = file(&bytes);
    let archive = Archive::open(&file, 0..bytes.len() as u64).unwrap();
    assert_eq!(archive.read(archive.member("data/0").unwrap(), 4).unwrap(), b"abcd");
}

proptest::proptest! {
    #[test]
    fn a_changed_byte_never_panics(at in 0usize..1000, with: u8) {
        let mut bytes = record(b"abcd");
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(archive) = Archive::open(&file(&bytes), 0..bytes.len() as u64)
            && let Ok(member) = archive.member("data/0")
        {
            let _ = archive.read(member, 100);
        }
    }
}

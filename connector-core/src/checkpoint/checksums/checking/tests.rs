use super::*;
use crate::checkpoint::torch::zip::crc32;
use crate::store::{self, Dtype};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two files of 40 bytes each, with records at 10 to 20 and 20 to 30 of each; that of the last has no
/// checksum. File 2 is a view of file 1, of its first record.
struct Files {
    bytes: [[u8; 40]; 2],
    tensors: Vec<TensorInfo>,
    checksums: Vec<Checksum>,
    reads: AtomicUsize,
}

const BYTES: [u8; 40] = *b"between  a's bytesb's bytes..behind them";

impl Files {
    fn new() -> Self {
        let tensor = |name: &str, file, offset| {
            TensorInfo::whole(name.into(), vec![10], Dtype::U8, file, offset)
        };
        let sum = |tensor: &str, file, start: usize| Checksum {
            tensor: tensor.into(),
            file,
            bytes: start as u64..start as u64 + 10,
            crc: (tensor != "d").then(|| crc32(&BYTES[start..start + 10])),
        };
        let empty = Checksum { bytes: 20..20, ..sum("empty", 0, 20) };
        Files {
            bytes: [BYTES; 2],
            tensors: vec![tensor("a", 0, 10), tensor("b", 0, 20), tensor("c", 2, 10)],
            checksums: vec![
                sum("a", 0, 10),
                empty,
                sum("b", 0, 20),
                sum("c", 1, 10),
                sum("d", 1, 20),
            ],
            reads: AtomicUsize::new(0),
        }
    }
}

impl Source for Files {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }
    fn file_count(&self) -> usize {
        2
    }
    fn shown(&self, file: FileId) -> FileId {
        if file == 2 { 1 } else { file }
    }
    fn path(&self, file: FileId) -> &Path {
        Path::new(["one.bin", "two.bin"][self.shown(file)])
    }
    fn file_len(&self, _: FileId) -> u64 {
        40
    }
    fn description(&self, _: FileId) -> store::Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> store::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        buffer.copy_from_slice(&self.bytes[self.shown(file)][offset as usize..][..buffer.len()]);
        Ok(())
    }
    fn check_unchanged(&self) -> store::Result<()> {
        Ok(())
    }
    fn local_file(&self, _: FileId) -> Option<&File> {
        None
    }
    fn checksums(&self) -> &[Checksum] {
        &self.checksums
    }
}

/// File, place, number of bytes.
type Read = (FileId, u64, usize);

fn check(files: &Files, reads: &[Read], unseen: &[Read]) -> Result<()> {
    let checking = Checking::around(files).unwrap();
    for &(file, offset, len) in reads {
        checking.read_at(file, offset, &mut vec![0; len]).unwrap();
    }
    for &(file, offset, len) in unseen {
        checking.note(file, offset..offset + len as u64, None);
    }
    checking.finish(2, &Cancel::default())
}

#[test]
fn only_what_did_not_come_once_and_whole_is_read_again() {
    for (reads, unseen, again) in [
        (&[(0, 10, 10)][..], &[][..], 0),
        (&[(0, 0, 40), (1, 0, 40)], &[], 0),
        (&[(0, 13, 12), (0, 25, 5), (0, 10, 3)], &[], 0),
        (&[], &[], 0),
        (&[(0, 0, 10), (0, 30, 10)], &[], 0),
        (&[(0, 10, 9)], &[], 1),
        (&[(0, 12, 10)], &[], 2),
        (&[(0, 10, 10), (0, 10, 10)], &[], 1),
        (&[(0, 10, 5)], &[(0, 15, 5)], 1),
        (&[], &[(0, 15, 10)], 2),
        (&[(2, 10, 10)], &[], 1),
        // What a view is asked for says nothing about its place in the file.
        (&[(2, 25, 10)], &[], 1),
        (&[(1, 20, 10)], &[(1, 25, 3)], 0),
    ] {
        let files = Files::new();
        check(&files, reads, unseen).unwrap();
        let more = files.reads.into_inner() - reads.len();
        assert_eq!(more, again, "{reads:?} {unseen:?}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_where_it_was_read() {
    for (reads, unseen) in [
        (&[(0, 0, 40), (1, 0, 40)][..], &[][..]),
        (&[(0, 12, 9), (1, 10, 1)], &[]),
        (&[(0, 10, 20), (0, 10, 20), (2, 10, 10)], &[]),
        (&[(2, 15, 2)], &[(0, 11, 18)]),
    ] {
        for (file, place) in (0..2).flat_map(|file| (0..40).map(move |place| (file, place))) {
            let mut files = Files::new();
            files.bytes[file][place] ^= 4;
            let want = match (file, place) {
                (0, 10..20) => Some(("a", 10, "one.bin")),
                (0, 20..30) => Some(("b", 20, "one.bin")),
                (1, 10..20) => Some(("c", 10, "two.bin")),
                _ => None,
            };
            let found = match check(&files, reads, unseen) {
                Err(Error::Damaged { records }) => records,
                done => done.map(|()| Vec::new()).unwrap(),
            };
            let found: Vec<_> =
                found.iter().map(|d| (&*d.tensor, d.start, d.path.to_str().unwrap())).collect();
            assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{file} {place}");
        }
    }
}

#[test]
fn damage_is_told_by_file_record_and_both_sums() {
    let mut files = Files::new();
    files.bytes[0][12] ^= 1;
    files.bytes[0][22] ^= 1;
    let error = check(&files, &[(0, 0, 40)], &[]).unwrap_err().to_string();
    let (crc, found) = (crc32(&BYTES[10..20]), crc32(&files.bytes[0][10..20]));
    assert_eq!(
        error,
        format!(
            "the checkpoint is damaged: one.bin: the record of `a` at byte 10 has the CRC \
             {found:08x}, and should have {crc:08x}; so are 1 more"
        )
    );
}

/// Nothing is wrapped where there is nothing to hold against.
#[test]
fn a_source_without_checksums_is_left_alone() {
    let mut files = Files::new();
    files.checksums.iter_mut().for_each(|sum| sum.crc = None);
    assert!(Checking::around(&files).is_none());
    files.checksums.clear();
    assert!(Checking::around(&files).is_none());
}

use super::*;
use crate::engine::Error;
use crate::store::{self, Dtype, FileId, TensorInfo};
use std::io::{Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A file on both sides, and what the source was told that nobody saw.
struct Files {
    from: File,
    to: File,
    unseen: Mutex<Vec<Range<u64>>>,
}

impl Files {
    fn new() -> Self {
        let mut from = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
        from.write_all(&bytes).unwrap();
        from.rewind().unwrap();
        Files { from, to: tempfile::tempfile().unwrap(), unseen: Mutex::default() }
    }
}

impl Source for Files {
    fn tensors(&self) -> &[TensorInfo] {
        &[]
    }
    fn file_count(&self) -> usize {
        1
    }
    fn path(&self, _: FileId) -> &Path {
        Path::new("from")
    }
    fn file_len(&self, _: FileId) -> u64 {
        1_200_000
    }
    fn description(&self, _: FileId) -> store::Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn read_at(&self, _: FileId, _: u64, _: &mut [u8]) -> store::Result<()> {
        Ok(())
    }
    fn check_unchanged(&self) -> store::Result<()> {
        Ok(())
    }
    fn local_file(&self, file: FileId) -> Option<&File> {
        (file == 0).then_some(&self.from)
    }
    fn note(&self, _: FileId, range: Range<u64>, bytes: Option<&[u8]>) {
        assert_eq!(bytes, None);
        self.unseen.lock().unwrap().push(range);
    }
}

impl Sink for Files {
    fn path(&self, _: FileId) -> PathBuf {
        "to".into()
    }
    fn admit(&self, _: FileId, _: u64, _: &[u8]) -> store::Result<()> {
        Ok(())
    }
    fn write_at(&self, _: FileId, _: u64, _: &[u8]) -> store::Result<()> {
        Ok(())
    }
    fn sync(&self, _: FileId) -> store::Result<()> {
        Ok(())
    }
    fn local_file(&self, file: FileId) -> Option<&File> {
        (file == 0).then_some(&self.to)
    }
}

fn extent(source: u64, target: u64, len: u64) -> Extent {
    let (source, target) = ((0, source), (0, target));
    Extent { source, target, len, rows: 1, step: 0, output: 0, cast: None }
}

/// What `clone` leaves of extents, and what was shared.
fn shared(clone: Clone, extents: &[Extent]) -> (Vec<Extent>, Vec<Extent>) {
    let (files, mut done) = (Files::new(), Vec::new());
    let left = share_by(clone, extents, &files, &files, &mut |extent| done.push(*extent));
    let ranges: Vec<_> = done.iter().map(Extent::source_range).collect();
    assert_eq!(files.unseen.into_inner().unwrap(), ranges);
    (left, done)
}

#[test]
fn only_whole_blocks_at_the_same_place_are_shared() {
    let able: Clone = |from, to, len| {
        assert!([from.1, to.1, len].iter().all(|n| n.is_multiple_of(BLOCK)) && len > 0);
        Ok(())
    };
    let cast = Some((Dtype::F32, Dtype::Bf16));
    for whole in [
        extent(4096, 4104, 1 << 20),                 // elsewhere within a block
        extent(0, 0, SMALLEST - 1),                  // too short
        Extent { cast, ..extent(0, 0, 1 << 20) },    // not the same bytes
        Extent { rows: 2, ..extent(0, 0, 1 << 20) }, // not in one place
        Extent { target: (1, 0), ..extent(0, 0, 1 << 20) }, // not a local file
    ] {
        assert_eq!(shared(able, &[whole]), (vec![whole], vec![]));
    }
    let (left, done) = shared(able, &[extent(8, 4104, 100_000)]);
    assert_eq!(done, [extent(4096, 8192, 94_208)]);
    assert_eq!(left, [extent(8, 4104, 4088), extent(98_304, 102_400, 1704)]);
    let (left, done) = shared(able, &[extent(4096, 0, 1 << 20)]);
    assert_eq!((left, done), (vec![], vec![extent(4096, 0, 1 << 20)]));
}

#[test]
fn a_system_that_cannot_share_is_asked_once() {
    static ASKED: Mutex<u32> = Mutex::new(0);
    let unable: Clone = |_, _, _| {
        *ASKED.lock().unwrap() += 1;
        Err(io::ErrorKind::CrossesDevices.into())
    };
    let extents = [extent(0, 8, 1 << 20), extent(0, 0, 1 << 20), extent(4096, 4096, 1 << 20)];
    assert_eq!(shared(unable, &extents), (extents.to_vec(), vec![]));
    assert_eq!(*ASKED.lock().unwrap(), 1);
}

/// Copies with `copy`: whether it was done, and whether it is still thought possible.
fn copied(copy: Copy, extent: &Extent) -> (Result<bool>, bool) {
    let (files, kernel) = (Files::new(), KernelCopy { possible: true.into(), copy });
    let done = kernel.copy(extent, &files, &files);
    let unseen = files.unseen.into_inner().unwrap();
    assert_eq!(unseen, if matches!(done, Ok(true)) { vec![extent.source_range()] } else { vec![] });
    (done, kernel.possible.into_inner())
}

#[test]
fn a_copy_goes_on_until_it_is_done_or_impossible() {
    let long = extent(0, 0, 1 << 20);
    let slow: Copy = |_, _, len| Ok(Some(len.min(70_000)));
    assert!(matches!(copied(slow, &long), (Ok(true), true)));
    let unable: Copy = |from, _, len| Ok((from.1 < 70_000).then_some(len.min(70_000)));
    assert!(matches!(copied(unable, &long), (Ok(false), false)));
    let ends: Copy = |from, _, len| Ok(Some(if from.1 == 0 { len / 2 } else { 0 }));
    assert!(matches!(copied(ends, &long), (Ok(false), true)));
    let broken: Copy = |_, _, _| Err(io::Error::other("the disk is on fire"));
    let (error, _) = copied(broken, &long);
    assert!(matches!(error, Err(Error::Store(store::Error::Io { .. }))));
    let never: Copy = |_, _, _| panic!("not asked for");
    assert!(matches!(copied(never, &extent(0, 0, SMALLEST - 1)), (Ok(false), true)));
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_copies_what_it_says_it_does() {
    use crate::store::positioned::read_exact_at;
    let (files, kernel) = (Files::new(), KernelCopy::new(true));
    if kernel.copy(&extent(40, 16, 1_000_000), &files, &files).unwrap() {
        let (mut from, mut to) = (vec![0; 1_000_000], vec![1; 1_000_000]);
        read_exact_at(&files.from, &mut from, 40).unwrap();
        read_exact_at(&files.to, &mut to, 16).unwrap();
        assert!(from == to);
    } else {
        assert!(!kernel.possible.into_inner(), "it gave up without a reason");
    }
}

use super::*;
use crate::store;
use crate::store::positioned::read_exact_at;
use std::io::Write;

/// A file, and one handle more: past the cache if its file system can.
fn file(len: usize, access: Access) -> (File, File) {
    let mut file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..len).map(byte).collect();
    file.write_all(&bytes).unwrap();
    let direct = match system::open(&file, access) {
        Ok(direct) => {
            let flags = rustix::fs::fcntl_getfl(&direct).unwrap();
            assert!(flags.contains(rustix::fs::OFlags::DIRECT));
            direct
        }
        Err(_) => file.try_clone().unwrap(),
    };
    (file, direct)
}

/// What such a file has at `at`.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

#[test]
fn any_bytes_are_read() {
    let len = 5 * BLOCK + 100;
    let (_file, direct) = file(len, Access::Read);
    let mut bounce = Buffer::default();
    for (offset, count) in [
        (0, 1),
        (0, BLOCK),
        (8, 2 * BLOCK),
        (BLOCK - 1, 2),
        (BLOCK + 7, 4 * BLOCK),
        (5 * BLOCK, 100),
        (0, len),
        (len - 1, 1),
        (len, 0),
    ] {
        let mut got = vec![0; count];
        read(&direct, offset as u64, &mut got, bounce.room(2 * BLOCK)).unwrap();
        assert!(got.iter().enumerate().all(|(n, &b)| b == byte(offset + n)), "{offset} {count}");
    }
    for (offset, count) in [(0, len + 1), (len, 1), (len + 2 * BLOCK, 1)] {
        let error = read(&direct, offset as u64, &mut vec![0; count], bounce.room(2 * BLOCK));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{offset} {count}");
    }
}

/// The first byte and the number of bytes.
type Range = (u64, usize);

/// A sink that keeps what goes through the cache.
struct Cached {
    file: Option<File>,
    written: Mutex<Vec<Range>>,
    admitted: Mutex<Vec<Range>>,
}

impl Cached {
    fn of(file: Option<File>) -> Self {
        Cached { file, written: Mutex::default(), admitted: Mutex::default() }
    }
}

impl Sink for Cached {
    fn path(&self, _: FileId) -> PathBuf {
        "out".into()
    }
    fn admit(&self, _: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        self.admitted.lock().unwrap().push((offset, bytes.len()));
        Ok(())
    }
    fn write_at(&self, _: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        self.written.lock().unwrap().push((offset, bytes.len()));
        Ok(())
    }
    fn sync(&self, _: FileId) -> store::Result<()> {
        Ok(())
    }
    fn local_file(&self, _: FileId) -> Option<&File> {
        self.file.as_ref()
    }
}

/// Writes `len` bytes of 255 that begin `shift` bytes behind a block in memory: what went through
/// the cache, and what did not.
fn written(offset: u64, len: usize, shift: usize) -> (Vec<Range>, Option<Range>) {
    let (file, direct) = file(4 * PAGE, Access::Write);
    let sink = Cached::of(Some(file));
    let direct_sink = DirectSink::new(&sink, 1, BLOCK);
    direct_sink.files.open[0].set(Ok(direct)).unwrap();
    let mut memory = Buffer::default();
    let bytes = &mut memory.room(shift + len)[shift..];
    bytes.fill(255);
    direct_sink.write_at(0, offset, bytes).unwrap();
    assert!(!direct_sink.files.refused.load(Ordering::Relaxed));
    let mut got = vec![0; 4 * PAGE];
    read_exact_at(sink.file.as_ref().unwrap(), &mut got, 0).unwrap();
    let ours: Vec<usize> = (0..got.len()).filter(|&n| got[n] == 255).collect();
    assert!((0..got.len()).all(|n| got[n] == 255 || got[n] == byte(n)));
    let ours = ours.first().map(|&first| (first as u64, ours.len()));
    assert_eq!(sink.admitted.lock().unwrap().first(), ours.as_ref());
    (sink.written.into_inner().unwrap(), ours)
}

#[test]
fn whole_pages_pass_the_cache_and_the_rest_does_not() {
    const P: u64 = PAGE as u64;
    for shift in [0, 1, BLOCK - 1] {
        assert_eq!(written(0, PAGE, shift), (vec![], Some((0, PAGE))), "{shift}");
        let got = written(P, 3 * PAGE, shift);
        assert_eq!(got, (vec![], Some((P, 3 * PAGE))), "{shift}");
        let got = written(P - 10, 3 * PAGE, shift);
        let edges = vec![(P - 10, 10), (3 * P, PAGE - 10)];
        assert_eq!(got, (edges, Some((P, 2 * PAGE))), "{shift}");
        let got = written(P - 10, PAGE + 10, shift);
        assert_eq!(got, (vec![(P - 10, 10)], Some((P, PAGE))), "{shift}");
        // No whole page, though as many bytes.
        assert_eq!(written(10, PAGE, shift), (vec![(10, PAGE)], None), "{shift}");
        assert_eq!(written(10, 5, shift), (vec![(10, 5)], None), "{shift}");
    }
}

#[test]
fn what_is_no_local_file_is_left_to_its_owner() {
    let sink = Cached::of(None);
    let direct = DirectSink::new(&sink, 1, BLOCK);
    direct.write_at(0, 5, &[0; 3 * PAGE]).unwrap();
    assert_eq!(*sink.written.lock().unwrap(), [(5, 3 * PAGE)]);
}

#[test]
fn a_system_that_refuses_is_not_asked_again_and_a_disk_that_fails_is_told_of() {
    let file = tempfile::tempfile().unwrap();
    let files = || Files::new(Access::Write, 1, BLOCK);
    let work = |files: &Files, result: io::Result<()>| {
        files.with(0, Some(&file), || "out".into(), |_, _| result)
    };
    for refusal in [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported] {
        let files = files();
        assert!(matches!(work(&files, Err(refusal.into())), Ok(false)), "{refusal}");
        assert!(matches!(work(&files, Ok(())), Ok(false)), "{refusal}");
    }
    let files = files();
    files.open[0].set(Ok(file.try_clone().unwrap())).unwrap();
    assert!(work(&files, Err(io::ErrorKind::StorageFull.into())).is_err());
    assert!(matches!(work(&files, Ok(())), Ok(true)));
}

#[test]
fn a_failed_write_names_the_file() {
    // Not open for writing, so that the system fails.
    let named = tempfile::NamedTempFile::new().unwrap();
    let read_only = File::open(named.path()).unwrap();
    let sink = Cached::of(Some(named.into_file()));
    let direct = DirectSink::new(&sink, 1, BLOCK);
    direct.files.open[0].set(Ok(read_only)).unwrap();
    let error = direct.write_at(0, 0, &[0; PAGE]).unwrap_err().to_string();
    assert!(error.starts_with("cannot write out"), "{error}");
    assert!(sink.written.lock().unwrap().is_empty());
}

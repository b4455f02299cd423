//! Files laid out by a [`Layout`], as a [`Sink`].

use super::layout::{DistFile, Record};
use super::{COMMON, Layout, METADATA, METADATA_JSON};
use crate::cancel::Cancel;
use crate::checkpoint::torch::zip::Crc;
use crate::parallel::in_parallel;
use crate::store::positioned::{read_exact_at, write_all_at};
use crate::store::{FileId, Sink, allocate};
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What `metadata.json` says, in the words of Megatron-core up to 0.16, which refuses others.
const BACKENDS: &[u8] = br#"{"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch", "common_backend_version": 1}"#;

/// How much is read at a time to compute a CRC.
const BLOCK: u64 = 1 << 20;

/// A torch_dist checkpoint being written into a directory.
///
/// The files have their full length and all frames of records from the start. The CRCs are computed
/// at the end, over what the files then hold: the engine moves bytes in any order, on several
/// threads, and where it can within the kernel, so that not all of them pass through this process.
/// Most are then still in the system's cache.
///
/// After an error, or if it is dropped without [`finish`](Writer::finish), the files stay as they
/// are; the directory's owner removes them.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    layout: Layout,
    files: Vec<File>,
}

impl Writer {
    /// Creates the files in `dir` at their full length, and writes the frames of all records.
    ///
    /// # Errors
    /// If a file exists already, or the system refuses.
    pub fn create(dir: impl AsRef<Path>, layout: Layout) -> Result<Self> {
        let dir = dir.as_ref();
        let mut files = Vec::with_capacity(layout.files.len());
        for DistFile { name, len, records, objects } in &layout.files {
            let path = dir.join(name);
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
            let file = file.map_err(Error::io("create", &path))?;
            allocate(&file, *len).map_err(Error::io("reserve space for", &path))?;
            let write = |bytes: &[u8], at| {
                write_all_at(&file, bytes, at).map_err(Error::io("write", &path))
            };
            for Record { start, frame, data } in records {
                write(&frame.head, *start)?;
                write(&frame.tail, data.end)?;
            }
            for (start, bytes) in objects {
                write(bytes, *start)?;
            }
            files.push(file);
        }
        Ok(Writer { dir: dir.into(), layout, files })
    }

    /// Writes the CRCs, on `threads` threads, and then what makes the files a checkpoint. To make all
    /// that durable is left to whoever publishes the directory.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses; [`Error::Cancelled`].
    pub fn finish(self, threads: usize, cancel: &Cancel) -> Result<()> {
        self.write_crcs(threads, cancel)?;
        let Layout { metadata, common, .. } = &self.layout;
        for (name, bytes) in
            [(METADATA, &metadata[..]), (COMMON, common), (METADATA_JSON, BACKENDS)]
        {
            let path = self.dir.join(name);
            let mut file = File::create_new(&path).map_err(Error::io("create", &path))?;
            file.write_all(bytes).map_err(Error::io("write", &path))?;
        }
        Ok(())
    }

    fn write_crcs(&self, threads: usize, cancel: &Cancel) -> Result<()> {
        let files = self.layout.files.iter().enumerate();
        let records: Vec<_> =
            files.flat_map(|(id, file)| file.records.iter().map(move |r| (id, r))).collect();
        in_parallel(threads, records.len(), |number| {
            cancel.check()?;
            let (id, record) = records[number];
            write_crc(&self.files[id], record).map_err(|error| {
                let path = self.dir.join(&self.layout.files[id].name);
                Error::io("compute the CRC of", path)(error)
            })
        })
        .map(drop)
    }
}

fn write_crc(file: &File, record: &Record) -> io::Result<()> {
    let Record { frame, data, .. } = record;
    let mut buffer = vec![0; (data.end - data.start).min(BLOCK) as usize];
    let mut crc = Crc::new();
    let mut at = data.start;
    while at < data.end {
        let len = (data.end - at).min(buffer.len() as u64) as usize;
        read_exact_at(file, &mut buffer[..len], at)?;
        crc.update(&buffer[..len]);
        at += len as u64;
    }
    let bytes = crc.finalize().to_le_bytes();
    frame.crc_at.iter().try_for_each(|&at| write_all_at(file, &bytes, data.end + at as u64))
}

impl Sink for Writer {
    fn is_random_access(&self) -> bool {
        true
    }

    fn write_at(&self, file: FileId, offset: u64, bytes: &[u8]) -> Result<()> {
        let DistFile { name, records, .. } = &self.layout.files[file];
        // The record that begins last before it.
        let number = records.partition_point(|record| record.data.start <= offset);
        let record = number.checked_sub(1).map(|number| &records[number]);
        let end = offset.checked_add(bytes.len() as u64);
        let inside = record.is_some_and(|record| end.is_some_and(|end| end <= record.data.end));
        let written = if inside {
            write_all_at(&self.files[file], bytes, offset)
        } else {
            // It would destroy a frame, and nobody would notice.
            Err(io::Error::new(io::ErrorKind::InvalidInput, "outside of the tensors' bytes"))
        };
        written.map_err(|error| Error::io("write", self.dir.join(name))(error))
    }

    fn sync(&self, file: FileId) -> Result<()> {
        let path = || self.dir.join(&self.layout.files[file].name);
        self.files[file].sync_data().map_err(|error| Error::io("sync", path())(error))
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.files.get(file)
    }
}

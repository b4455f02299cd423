//! Files laid out by a [`Layout`], as a [`Sink`].

use super::layout::{DistFile, Record};
use super::{COMMON, Layout, METADATA, METADATA_JSON};
use crate::base::Cancel;
use crate::base::parallel::in_parallel;
use crate::checkpoint::Result;
use crate::checkpoint::checksums::{Stretches, crc_of};
use crate::checkpoint::torch::zip::Crc;
use crate::store::positioned::{read_exact_at, write_all_at};
use crate::store::{self, FileId, OUTSIDE, Sink, allocate, close, write_new};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What `metadata.json` says, in the words of Megatron-core up to 0.16, which refuses others.
const BACKENDS: &[u8] = br#"{"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch", "common_backend_version": 1}"#;

/// A torch_dist checkpoint being written into a directory.
///
/// The files have their full length and all frames of records from the start. CRCs are computed of
/// bytes as they are written, in any order, and put together at the end. Of a record of which that does
/// not suffice the file is read: the kernel copied or shared some of it, bytes were left to be zero, or
/// it was written in many short rows.
///
/// After an error, or if it is dropped without [`finish`](Writer::finish), the files stay as they
/// are; the directory's owner removes them.
#[derive(Debug)]
pub(crate) struct Writer {
    dir: PathBuf,
    layout: Arc<Layout>,
    files: Vec<File>,
    /// Of each record of each file.
    crcs: Vec<Vec<Mutex<Stretches>>>,
}

impl Writer {
    /// Creates the files in `dir` at their full length, and writes the frames of all records.
    ///
    /// # Errors
    /// If a file exists already, or the system refuses.
    pub fn create(dir: impl AsRef<Path>, layout: impl Into<Arc<Layout>>) -> Result<Self> {
        let (dir, layout) = (dir.as_ref(), layout.into());
        let mut files = Vec::with_capacity(layout.files.len());
        for DistFile { name, len, records, objects } in &layout.files {
            let path = dir.join(name);
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
            let file = file.map_err(store::Error::io("create", &path))?;
            allocate(&file, *len).map_err(store::Error::io("reserve space for", &path))?;
            let write = |bytes: &[u8], at| {
                write_all_at(&file, bytes, at).map_err(store::Error::io("write", &path))
            };
            for Record { start, frame, data } in records {
                write(&frame.head, *start)?;
                write(&frame.tail, data.end)?;
            }
            for start in objects {
                write(&layout.object, *start)?;
            }
            files.push(file);
        }
        let crcs = layout.files.iter().map(|file| file.records.iter().map(|_| Mutex::default()));
        let crcs = crcs.map(Iterator::collect).collect();
        Ok(Writer { dir: dir.into(), layout, files, crcs })
    }

    /// Writes the CRCs, on `threads` threads, closes the files, and then writes what makes them a
    /// checkpoint. To make all that durable is left to whoever publishes the directory.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io) if the system refuses, or refused earlier what it had
    /// taken; [`Cancelled`](crate::checkpoint::Error::Cancelled).
    pub fn finish(self, threads: usize, cancel: &Cancel) -> Result<()> {
        self.write_crcs(threads, cancel)?;
        let Writer { dir, layout, files, .. } = self;
        for (file, DistFile { name, .. }) in files.into_iter().zip(&layout.files) {
            close(file, &dir.join(name))?;
        }
        let Layout { metadata, common, .. } = &*layout;
        for (name, bytes) in
            [(METADATA, &metadata[..]), (COMMON, common), (METADATA_JSON, BACKENDS)]
        {
            write_new(&dir.join(name), bytes)?;
        }
        Ok(())
    }

    fn write_crcs(&self, threads: usize, cancel: &Cancel) -> Result<()> {
        let files = self.layout.files.iter().zip(&self.crcs).enumerate();
        let records: Vec<_> = files
            .flat_map(|(id, (file, crcs))| {
                file.records.iter().zip(crcs).map(move |(record, crc)| (id, record, crc))
            })
            .collect();
        in_parallel(threads, records.len(), |number| -> Result<_> {
            cancel.check()?;
            let (id, record, crc) = records[number];
            let known = crc.lock().unwrap_or_else(PoisonError::into_inner).of(&record.data);
            let written = write_crc(&self.files[id], record, known);
            Ok(written.map_err(store::Error::io("compute the CRC of", self.path(id)))?)
        })
        .map(drop)
    }
}

fn write_crc(file: &File, record: &Record, known: Option<u32>) -> io::Result<()> {
    let Record { frame, data, .. } = record;
    let read = || crc_of(data, |at, buffer| read_exact_at(file, buffer, at));
    let bytes = known.map_or_else(read, Ok)?.to_le_bytes();
    frame.crc_at.iter().try_for_each(|&at| write_all_at(file, &bytes, data.end + at as u64))
}

impl Sink for Writer {
    fn path(&self, file: FileId) -> PathBuf {
        self.dir.join(&self.layout.files[file].name)
    }

    fn admit(&self, file: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        let records = &self.layout.files[file].records;
        // The record that begins last before it.
        let number = records.partition_point(|record| record.data.start <= offset);
        let inside = |number: &usize| {
            let end = offset.checked_add(bytes.len() as u64);
            end.is_some_and(|end| end <= records[*number].data.end)
        };
        let Some(number) = number.checked_sub(1).filter(inside) else {
            // It would destroy a frame, and nobody would notice.
            let error = io::Error::new(io::ErrorKind::InvalidInput, OUTSIDE);
            return Err(store::Error::io("write", self.path(file))(error));
        };
        let mut crc = Crc::new();
        crc.update(bytes);
        let stretches = self.crcs[file][number].lock();
        stretches.unwrap_or_else(PoisonError::into_inner).add(offset, crc);
        Ok(())
    }

    fn write_at(&self, file: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        self.admit(file, offset, bytes)?;
        write_all_at(&self.files[file], bytes, offset)
            .map_err(|error| store::Error::io("write", self.path(file))(error))
    }

    fn sync(&self, file: FileId) -> store::Result<()> {
        self.files[file]
            .sync_data()
            .map_err(|error| store::Error::io("sync", self.path(file))(error))
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.files.get(file)
    }
}

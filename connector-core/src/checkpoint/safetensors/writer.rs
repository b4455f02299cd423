//! Files laid out by a [`Layout`], as a [`Sink`].

use super::{Layout, ShardFile};
use crate::checkpoint::Error;
use crate::store::positioned::write_all_at;
use crate::store::{self, FileId, OUTSIDE, Sink, allocate, close, write_new};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A safetensors checkpoint being written into a directory.
///
/// The files have their full length from the start; bytes that are never written are zero, and
/// engines may count on it for padding. The header is there from the start too, so an unfinished
/// file looks like a finished one: write into a directory that is published afterwards.
///
/// After an error, or if it is dropped without [`finish`](Writer::finish), the files stay as they
/// are; the directory's owner removes them.
#[derive(Debug)]
pub(crate) struct Writer {
    dir: PathBuf,
    layout: Arc<Layout>,
    files: Vec<File>,
}

impl Writer {
    /// Creates the files in `dir` at their full length, and writes their headers. A full disk
    /// shows here, where the file system can tell.
    ///
    /// # Errors
    /// If a file exists already, or the system refuses.
    pub fn create(dir: impl AsRef<Path>, layout: impl Into<Arc<Layout>>) -> Result<Self, Error> {
        let (dir, layout) = (dir.as_ref(), layout.into());
        let mut files = Vec::with_capacity(layout.files().len());
        for ShardFile { name, header, len } in layout.files() {
            let path = dir.join(name);
            let file = File::create_new(&path).map_err(store::Error::io("create", &path))?;
            allocate(&file, *len).map_err(store::Error::io("reserve space for", &path))?;
            write_all_at(&file, header, 0).map_err(store::Error::io("write", &path))?;
            files.push(file);
        }
        Ok(Writer { dir: dir.into(), layout, files })
    }

    /// Closes the files and writes the index, if there is one. To make all that durable is left to
    /// whoever publishes the directory.
    ///
    /// # Errors
    /// If the system refuses, or refused earlier what it had taken.
    pub fn finish(self) -> Result<(), Error> {
        let Writer { dir, layout, files } = self;
        for (file, ShardFile { name, .. }) in files.into_iter().zip(layout.files()) {
            close(file, &dir.join(name))?;
        }
        if let Some((name, bytes)) = layout.index() {
            write_new(&dir.join(name), bytes)?;
        }
        Ok(())
    }
}

impl Sink for Writer {
    fn path(&self, file: FileId) -> PathBuf {
        self.dir.join(&self.layout.files()[file].name)
    }

    fn admit(&self, file: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        let ShardFile { header, len, .. } = &self.layout.files()[file];
        let inside = |end| offset >= header.len() as u64 && end <= *len;
        if offset.checked_add(bytes.len() as u64).is_some_and(inside) {
            return Ok(());
        }
        // It would destroy the header or lengthen the file, and nobody would notice.
        let error = io::Error::new(io::ErrorKind::InvalidInput, OUTSIDE);
        Err(store::Error::io("write", self.path(file))(error))
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

#[cfg(test)]
mod tests;

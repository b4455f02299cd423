use super::{Stretches, compare, read};
use crate::base::Cancel;
use crate::base::parallel::in_parallel;
use crate::checkpoint::torch::zip::Crc;
use crate::checkpoint::{Error, Result};
use crate::store::{self, Checksum, FileId, Source, TensorInfo};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A source whose bytes are held against the checksums of another, from which they come.
///
/// The CRCs are of bytes as they are read, in any order, and put together at the end. A record of
/// which that does not suffice is read again: some of it was not asked for, or asked for twice, or in
/// too many places; the kernel copied or shared it; what was read is a view. Of a record that nobody
/// asked for nothing is read: what is damaged can be left out.
pub(crate) struct Checking<'a> {
    source: &'a dyn Source,
    /// Those with a checksum, in the order of the files.
    records: Vec<Record<'a>>,
    /// Which record a view shows.
    views: BTreeMap<FileId, usize>,
}

struct Record<'a> {
    sum: &'a Checksum,
    read: Mutex<Stretches>,
}

impl<'a> Checking<'a> {
    /// `None` if the source has no checksums.
    pub fn around(source: &'a dyn Source) -> Option<Self> {
        let sums = source.checksums().iter();
        let sums = sums.filter(|sum| sum.crc.is_some() && !sum.bytes.is_empty());
        let records: Vec<_> = sums.map(|sum| Record { sum, read: Mutex::default() }).collect();
        if records.is_empty() {
            return None;
        }
        let mut checking = Checking { source, records, views: BTreeMap::new() };
        for tensor in source.tensors() {
            let Some((file, offset)) = tensor.pieces.first() else { continue };
            if file >= source.file_count() {
                let shown = source.shown(file);
                let number = checking.first(shown, offset);
                let record = checking.records.get(number).map(|record| record.sum);
                if record.is_some_and(|sum| sum.file == shown && sum.bytes.contains(&offset)) {
                    checking.views.insert(file, number);
                }
            }
        }
        Some(checking)
    }

    /// Passes if what was read is what was written.
    ///
    /// # Errors
    /// [`Error::Damaged`] with every record that is not;
    /// [`SourceChanged`](crate::store::Error::SourceChanged) if somebody writes to it;
    /// [`Io`](crate::store::Error::Io), [`Error::Cancelled`].
    pub fn finish(&self, threads: usize, cancel: &Cancel) -> Result<()> {
        let asked_for: Vec<_> =
            self.records.iter().filter(|record| !record.read().is_empty()).collect();
        let known = |record: &Record<'_>| record.read().of(&record.sum.bytes);
        let (known, unknown): (Vec<_>, Vec<_>) = asked_for
            .into_iter()
            .map(|record| (record.sum, known(record)))
            .partition(|(_, crc)| crc.is_some());
        let again = in_parallel(threads, unknown.len(), |number| -> Result<_> {
            let sum = unknown[number].0;
            Ok((sum, Some(read(self.source, sum, cancel)?)))
        })?;
        let all = known.into_iter().chain(again);
        let damage = |(sum, found): (&Checksum, Option<u32>)| compare(self.source, sum, found?);
        let records: Vec<_> = all.filter_map(damage).collect();
        if records.is_empty() {
            return Ok(());
        }
        self.source.check_unchanged()?;
        Err(Error::Damaged { records })
    }

    /// The number of the first record that ends behind `offset` of a file.
    fn first(&self, file: FileId, offset: u64) -> usize {
        self.records
            .partition_point(|record| (record.sum.file, record.sum.bytes.end) <= (file, offset))
    }
}

impl Record<'_> {
    fn read(&self) -> MutexGuard<'_, Stretches> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what was read of a file: of `bytes`, which lie at `range`.
    fn note(&self, range: &Range<u64>, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return self.read().give_up() };
        let start = self.sum.bytes.start.max(range.start);
        let end = self.sum.bytes.end.min(range.end);
        let mut crc = Crc::new();
        crc.update(&bytes[(start - range.start) as usize..(end - range.start) as usize]);
        self.read().add(start, crc);
    }
}

impl Source for Checking<'_> {
    fn tensors(&self) -> &[TensorInfo] {
        self.source.tensors()
    }

    fn file_count(&self) -> usize {
        self.source.file_count()
    }

    fn shown(&self, file: FileId) -> FileId {
        self.source.shown(file)
    }

    fn path(&self, file: FileId) -> &Path {
        self.source.path(file)
    }

    fn file_len(&self, file: FileId) -> u64 {
        self.source.file_len(file)
    }

    fn description(&self, file: FileId) -> store::Result<Vec<u8>> {
        self.source.description(file)
    }

    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> store::Result<()> {
        self.source.read_at(file, offset, buffer)?;
        self.note(file, offset..offset + buffer.len() as u64, Some(buffer));
        Ok(())
    }

    fn check_unchanged(&self) -> store::Result<()> {
        self.source.check_unchanged()
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.source.local_file(file)
    }

    fn checksums(&self) -> &[Checksum] {
        self.source.checksums()
    }

    fn note(&self, file: FileId, range: Range<u64>, bytes: Option<&[u8]>) {
        if file >= self.source.file_count() {
            // Its elements are not in the order of the record.
            let record = self.views.get(&file).map(|&number| &self.records[number]);
            return record.into_iter().for_each(|record| record.read().give_up());
        }
        let records = &self.records[self.first(file, range.start)..];
        let inside =
            |record: &&Record<'_>| record.sum.file == file && record.sum.bytes.start < range.end;
        records.iter().take_while(inside).for_each(|record| record.note(&range, bytes));
    }
}

#[cfg(test)]
mod tests;

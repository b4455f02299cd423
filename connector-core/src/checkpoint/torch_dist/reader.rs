use super::metadata::{self, Chunk, Place, Stored};
use super::record::{Located, RecordProblem, locate};
use super::tiling::{self, Box_};
use super::{METADATA, METADATA_JSON, Malformed, Problem, names};
use crate::checkpoint::files::{OpenFile, Opened};
use crate::checkpoint::small::Small;
use crate::checkpoint::torch::types;
use crate::checkpoint::{Result, look};
use crate::store::{self, Checksum, Encoding, FileId, Piece, Pieces, Source, TensorInfo};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Component, Path};

/// The longest `.metadata`. Those of the largest runs have some hundreds of megabytes.
const LONGEST_METADATA: u64 = 1 << 30;

/// A distributed checkpoint: the parameters of its model.
///
/// Opening reads `.metadata` and the frame of every record of the model, and keeps the files open.
/// States of the optimizer, of random numbers and of Transformer Engine are passed over.
///
/// What is wrong does not stop it: [`problems`](Reader::problems) has all of it. As long as there
/// are any, the tensors are not the whole checkpoint.
#[derive(Debug)]
pub struct Reader {
    metadata: Vec<u8>,
    files: Vec<OpenFile>,
    tensors: Vec<TensorInfo>,
    checksums: Vec<Checksum>,
    others: usize,
    problems: Vec<Malformed>,
}

impl Reader {
    /// Opens the directory `dir`, which holds `.metadata`: `weights/` of NeMo, an iteration's
    /// directory of Megatron-LM.
    ///
    /// # Errors
    /// [`TorchDist`](crate::checkpoint::Error::TorchDist) if `.metadata` or `metadata.json`
    /// cannot be understood; [`Io`](crate::store::Error::Io).
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let at = |name: &str, problem| Malformed { path: dir.join(name), problem };
        check_backend(dir).and_then(|problem| match problem {
            Some(problem) => Err(at(METADATA_JSON, problem).into()),
            None => Ok(()),
        })?;
        let path = dir.join(METADATA);
        let bytes = match look::at(&path).map_err(store::Error::io("read", &path))? {
            Some(found) if found.is_file() && found.len() <= LONGEST_METADATA => {
                fs::read(&path).map_err(store::Error::io("read", &path))?
            }
            _ => return Err(at(METADATA, Problem::NoMetadata).into()),
        };
        let (stored, others) =
            metadata::read(&bytes, names::is_parameter).map_err(|p| at(METADATA, p))?;
        let mut opening = Opening {
            dir,
            ids: BTreeMap::new(),
            files: vec![],
            checksums: vec![],
            problems: vec![],
        };
        opening.open_files(&stored)?;
        let tensors: Vec<_> = stored.into_iter().filter_map(|t| opening.tensor(t)).collect();
        let mut problems = Vec::new();
        let tensors = names::parameters(tensors, &mut problems);
        let Opening { files, mut checksums, problems: mut all, .. } = opening;
        if let Some(refused) = all.iter().position(Malformed::is_refusal) {
            return Err(all.swap_remove(refused).into());
        }
        checksums.sort_unstable_by_key(|sum| (sum.file, sum.bytes.start));
        all.extend(problems.into_iter().map(|problem| at(METADATA, problem)));
        Ok(Reader { metadata: bytes, files, tensors, checksums, others, problems: all })
    }

    /// Everything that is wrong with the checkpoint; empty if all is well.
    pub fn problems(&self) -> &[Malformed] {
        &self.problems
    }

    /// How many entries of `.metadata` are no parameters: states of the optimizer and the run.
    pub fn others(&self) -> usize {
        self.others
    }
}

impl Reader {
    /// For the owner to rename them.
    pub(in crate::checkpoint) fn tensors_mut(&mut self) -> &mut [TensorInfo] {
        &mut self.tensors
    }
}

/// Whether the path `name`, which a file gives, stays inside of the directory it is joined to.
pub(super) fn is_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    // A backslash or a drive's letter is part of a name here and a path elsewhere.
    parts.peek().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !name.contains(['\\', ':', '\0'])
}

/// Whether `metadata.json`, which very old checkpoints lack, names another container.
fn check_backend(dir: &Path) -> Result<Option<Problem>> {
    let text = match Small::read(&dir.join(METADATA_JSON))? {
        Small::Absent => return Ok(None),
        Small::Unreasonable => {
            return Ok(Some(Problem::Backend("is no file of reasonable length".into())));
        }
        Small::Read(text) => text,
    };
    let json: Result<serde_json::Value, _> = serde_json::from_slice(&text);
    let backend = json.as_ref().ok().and_then(|json| json.get("sharded_backend")?.as_str());
    Ok(match (backend, &json) {
        (Some("torch_dist"), _) => None,
        (Some(other), _) => Some(Problem::Backend(format!("names the backend {other:?}"))),
        (None, Ok(_)) => Some(Problem::Backend("has no `sharded_backend`".into())),
        (None, Err(error)) => Some(Problem::Backend(format!("is not JSON: {error}"))),
    })
}

struct Opening<'d> {
    dir: &'d Path,
    /// The files by the names that `.metadata` gives them; `None` if one cannot be read.
    ids: BTreeMap<String, Option<FileId>>,
    files: Vec<OpenFile>,
    checksums: Vec<Checksum>,
    problems: Vec<Malformed>,
}

impl Opening<'_> {
    fn problem(&mut self, name: &str, problem: Problem) {
        self.problems.push(Malformed { path: self.dir.join(name), problem });
    }

    /// Opens each file once, and checks that records lie inside of it and apart.
    fn open_files(&mut self, stored: &[Stored]) -> Result<()> {
        let mut records: BTreeMap<&str, Vec<(&Place, &str)>> = BTreeMap::new();
        for tensor in stored {
            for place in tensor.chunks.iter().filter_map(|chunk| chunk.record.as_ref()) {
                records.entry(&place.file).or_default().push((place, &tensor.key));
            }
        }
        for (name, mut records) in records {
            let id = self.open_file(name, &records)?;
            self.ids.insert(name.into(), id);
            let Some(id) = id else { continue };
            let len = self.files[id].len;
            records.sort_by_key(|(place, _)| place.offset);
            for (Place { offset, length, .. }, tensor) in &records {
                if offset.checked_add(*length).is_none_or(|end| end > len) {
                    let (tensor, offset, length) = (tensor.to_string(), *offset, *length);
                    self.problem(name, Problem::BeyondEnd { tensor, offset, length, len });
                }
            }
            for pair in records.windows(2) {
                let [(first, one), (second, other)] = pair else { continue };
                if first.offset.saturating_add(first.length) > second.offset {
                    let (one, other) = (one.to_string(), other.to_string());
                    self.problem(name, Problem::Overlap { one, other });
                }
            }
        }
        Ok(())
    }

    fn open_file(&mut self, name: &str, records: &[(&Place, &str)]) -> Result<Option<FileId>> {
        if !is_inside(name) {
            let tensor = records.first().map_or("", |(_, tensor)| tensor).to_string();
            let problem = Problem::Outside { tensor, file: name.into() };
            self.problem(METADATA, problem);
            return Ok(None);
        }
        let path = self.dir.join(name);
        match OpenFile::open(&path).map_err(store::Error::io("open", &path))? {
            Opened::File(file) => self.files.push(file),
            Opened::NotAFile | Opened::Absent => {
                self.problem(name, Problem::MissingFile { records: records.len() });
                return Ok(None);
            }
        }
        Ok(Some(self.files.len() - 1))
    }

    /// A tensor whose pieces tile it and whose records hold them; else its problems are noted.
    fn tensor(&mut self, stored: Stored) -> Option<TensorInfo> {
        let Stored { key, dtype, shape, chunks } = stored;
        let Some(dtype) = types::dtype(&dtype) else {
            self.problem(METADATA, Problem::Dtype { tensor: key, dtype });
            return None;
        };
        let boxes: Vec<_> =
            chunks.iter().map(|c| Box_ { start: &c.start, size: &c.size }).collect();
        if let Some(what) = tiling::problem(&shape, &boxes) {
            self.problem(METADATA, Problem::Tiling { tensor: key, shape, what });
            return None;
        }
        let before = self.problems.len();
        let mut pieces = Vec::with_capacity(chunks.len());
        for chunk in chunks.into_iter().filter(|chunk| !chunk.size.contains(&0)) {
            pieces.extend(self.piece(&key, dtype, chunk));
        }
        let whole = self.problems.len() == before && pieces.iter().all(Option::is_some);
        let pieces = Pieces::new(pieces.into_iter().flatten().collect(), &shape);
        whole.then_some(TensorInfo { name: key, shape, dtype, encoding: Encoding::Raw, pieces })
    }

    /// Where the elements of a chunk are. `None` inside if its file has a problem of its own.
    fn piece(&mut self, key: &str, dtype: store::Dtype, chunk: Chunk) -> Option<Option<Piece>> {
        let Chunk { start, size, record } = chunk;
        let tensor = key.to_string();
        let Some(Place { file: name, offset, length }) = record else {
            self.problem(METADATA, Problem::NoRecord { tensor, start });
            return None;
        };
        let Some(file) = self.ids.get(&name).copied().flatten() else { return Some(None) };
        let open = &self.files[file];
        let Some(end) = offset.checked_add(length).filter(|&end| end <= open.len) else {
            return Some(None);
        };
        let problem = match locate(&open.file, offset..end, dtype, &size) {
            Ok(Located { first, data }) => {
                let (crc, bytes) = (data.crc(), data.data);
                self.checksums.push(Checksum { tensor, file, bytes, crc });
                return Some(Some(Piece { file, offset: first, start, size }));
            }
            Err(RecordProblem::Zip(error)) => Problem::Zip { tensor, offset, error },
            Err(RecordProblem::Pickle(error)) => Problem::Record { tensor, offset, error },
            Err(RecordProblem::Elements(what)) => Problem::Elements { tensor, offset, what },
            Err(RecordProblem::Other(found, found_shape)) => {
                Problem::Other { tensor, offset, found, found_shape, dtype, shape: size }
            }
        };
        self.problem(&name, problem);
        None
    }
}

impl Source for Reader {
    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn file_count(&self) -> usize {
        self.files.len()
    }

    fn path(&self, file: FileId) -> &Path {
        &self.files[file].path
    }

    fn file_len(&self, file: FileId) -> u64 {
        self.files[file].len
    }

    fn description(&self, _: FileId) -> store::Result<Vec<u8>> {
        Ok(self.metadata.clone())
    }

    fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> store::Result<()> {
        self.files[file].read_at(offset, buffer)
    }

    fn check_unchanged(&self) -> store::Result<()> {
        self.files.iter().try_for_each(OpenFile::check_unchanged)
    }

    fn local_file(&self, file: FileId) -> Option<&File> {
        self.files.get(file).map(|open| &open.file)
    }

    fn checksums(&self) -> &[Checksum] {
        &self.checksums
    }
}

#[cfg(test)]
mod tests;

//! Files of before torch 1.6, or of `_use_new_zipfile_serialization=False`: five pickles, and behind
//! them the storages.
//!
//! ```text
//! pickle  0x1950a86a20f9469cfc6c     what such a file begins with
//! pickle  1001                       the version of this layout
//! pickle  {"little_endian": True, …}
//! pickle  the state, whose tensors name storages by keys
//! pickle  ["94008", "94112", …]      the keys, in the order of the file
//! i64     number of elements         of the first storage
//!         its bytes
//! i64     …
//! ```

use super::{LONGEST_PICKLE, Problem, Storage, Storages, state};
use crate::checkpoint::files::OpenFile;
use crate::checkpoint::torch::pickle::{Pickle, PickleError};
use crate::store::Dtype;
use crate::store::positioned::read_exact_at;
use std::collections::HashMap;
use std::ops::Range;

/// The first pickle: the number 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// How much is read at first; the pickles of most models fit.
const USUAL: u64 = 1 << 20;

/// The pickle of the state, and where in the file each storage lies; all that is wrong if anything
/// is.
pub(super) fn read(file: &OpenFile) -> Result<(Vec<u8>, Storages), Vec<Problem>> {
    let one = |problem| vec![problem];
    let mut room = USUAL;
    loop {
        let mut bytes = vec![0; room.min(file.len) as usize];
        read_exact_at(&file.file, &mut bytes, 0)
            .map_err(|error| one(Problem::Zip(error.into())))?;
        match pickles(&bytes) {
            // Nothing tells how long the pickles are.
            Err(Problem::Pickle(PickleError::Ends { .. }))
                if room < file.len.min(LONGEST_PICKLE) =>
            {
                room *= 8;
            }
            Err(problem) => return Err(one(problem)),
            Ok((state, keys, end)) => {
                let storages = storages(file, &bytes[state.clone()], &keys, end as u64)?;
                return Ok((bytes[state].to_vec(), storages));
            }
        }
    }
}

/// Where the state is, the storages' keys, and where the pickles end.
fn pickles(bytes: &[u8]) -> Result<(Range<usize>, Vec<String>, usize), Problem> {
    let mut at = MAGIC.len();
    let mut next = || {
        let start = at;
        let pickle = Pickle::read(&bytes[start.min(bytes.len())..])?;
        at = start + pickle.len;
        Ok::<_, PickleError>((pickle, start..at))
    };
    let (version, _) = next()?;
    if version.top("the version").int() != Some(1001) {
        return Err(version.top("the version").unexpected("1001").into());
    }
    let (system, _) = next()?;
    let little = system.top("the writer's system").field("little_endian")?;
    if !little.is_true() {
        return Err(Problem::BigEndian);
    }
    let (_, state) = next()?;
    let (keys, range) = next()?;
    let keys = keys.top("the storages").list()?.map(|key| key.text().map(String::from));
    Ok((state, keys.collect::<Result<_, _>>()?, range.end))
}

/// Where each storage lies. The size of its elements stands only with the tensors that name it.
fn storages(
    file: &OpenFile,
    state: &[u8],
    keys: &[String],
    mut at: u64,
) -> Result<Storages, Vec<Problem>> {
    let pickle = Pickle::read(state).map_err(|error| vec![Problem::Pickle(error)])?;
    let mut types: HashMap<&str, Dtype> = HashMap::new();
    for (name, tensor) in state::tensors(&pickle)? {
        let dtype = tensor.dtype.ok_or_else(|| {
            let (tensor, dtype) = (name.into(), tensor.dtype_name.into());
            vec![Problem::Dtype { tensor, dtype }]
        })?;
        types.insert(tensor.storage, dtype);
    }
    let wrong = |what| vec![Problem::Storages(what)];
    let mut storages = Storages::new();
    for key in keys {
        let dtype = types.get(key.as_str()).ok_or_else(|| wrong("no tensor is in one of them"))?;
        let mut count = [0; 8];
        if at.checked_add(8).is_none_or(|start| start > file.len) {
            return Err(wrong("the file ends before the last; was it cut off?"));
        }
        read_exact_at(&file.file, &mut count, at)
            .map_err(|error| vec![Problem::Zip(error.into())])?;
        let bytes = u64::try_from(i64::from_le_bytes(count)).ok().and_then(|n| dtype.size(n));
        let end = bytes.and_then(|bytes| (at + 8).checked_add(bytes));
        let end = end.filter(|&end| end <= file.len);
        let end = end.ok_or_else(|| wrong("the file ends before the last; was it cut off?"))?;
        storages.insert(key.clone(), Storage { bytes: at + 8..end, crc: None });
        at = end;
    }
    Ok(storages)
}

//! What is the same on all ranks: `common.pt`, or, as Megatron-core writes it since 0.17, an object
//! among the records. Of it, Megatron-LM's command line.

use super::metadata;
use super::{COMMON, METADATA, Malformed, Problem};
use crate::checkpoint::small::Small;
use crate::checkpoint::torch::pickle::{Pickle, View};
use crate::checkpoint::torch::zip::Archive;
use crate::checkpoint::{Result, look};
use crate::store;
use crate::store::positioned::read_exact_at;
use serde_json::{Map, Value};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The object's key, before the name of its only part.
const STATE: &str = "common_state/shard_0_1";
/// The longest object. Real ones have some hundreds of kilobytes.
const LONGEST: u64 = 16 << 20;
/// How many values of the command line are read. Megatron-LM has about 900 arguments, some of which
/// are lists.
const MOST_VALUES: usize = 1 << 16;

/// Megatron-LM's command line.
pub(crate) struct Arguments {
    /// The file that holds it.
    pub file: PathBuf,
    /// The bytes that were read.
    pub bytes: Vec<u8>,
    /// The arguments by name. Python objects are `{"_target_": "torch.bfloat16"}`.
    pub fields: Map<String, Value>,
}

/// The command line in the checkpoint at `dir`, if there is one; or what is wrong with the file that
/// should have it.
///
/// # Errors
/// If the system refuses to read.
pub(crate) fn arguments(dir: &Path) -> Result<Option<Result<Arguments, Malformed>>> {
    let path = dir.join(COMMON);
    match Small::read(&path)? {
        Small::Read(bytes) => {
            let file = File::open(&path).map_err(store::Error::io("open", &path))?;
            let range = 0..bytes.len() as u64;
            told(read(&file, range, path, Some(bytes)))
        }
        Small::Unreasonable => {
            let problem = Problem::Common("is no file of reasonable length");
            Ok(Some(Err(Malformed { path, problem })))
        }
        Small::Absent => in_records(dir),
    }
}

fn in_records(dir: &Path) -> Result<Option<Result<Arguments, Malformed>>> {
    let path = dir.join(METADATA);
    if !look::is_file(&path)? {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(store::Error::io("read", &path))?;
    let place = match metadata::object(&bytes, STATE) {
        Ok(Some(place)) => place,
        Ok(None) => return Ok(None),
        Err(problem) => return Ok(Some(Err(Malformed { path, problem }))),
    };
    if !super::reader::is_inside(&place.file) {
        let problem = Problem::Outside { tensor: STATE.into(), file: place.file };
        return Ok(Some(Err(Malformed { path, problem })));
    }
    let path = dir.join(&place.file);
    let found = look::is_file(&path)?;
    let end = place.offset.checked_add(place.length).filter(|_| place.length <= LONGEST);
    let (true, Some(end)) = (found, end) else {
        let problem = Problem::Common("has not the object that it should have");
        return Ok(Some(Err(Malformed { path, problem })));
    };
    let file = File::open(&path).map_err(store::Error::io("open", &path))?;
    told(read(&file, place.offset..end, path, None))
}

/// What was read, if the system did not refuse.
fn told(
    read: Result<Option<Arguments>, Malformed>,
) -> Result<Option<Result<Arguments, Malformed>>> {
    match read {
        Err(malformed) if malformed.is_refusal() => Err(malformed.into()),
        read => Ok(read.transpose()),
    }
}

/// The arguments in the archive at `range` of `file`, whose bytes are `whole` if it has nothing else.
fn read(
    file: &File,
    range: std::ops::Range<u64>,
    path: PathBuf,
    whole: Option<Vec<u8>>,
) -> Result<Option<Arguments>, Malformed> {
    type Read = Option<(Vec<u8>, Map<String, Value>)>;
    let parse = || -> Result<Read, Problem> {
        let bytes = match whole {
            Some(bytes) => bytes,
            None => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                read_exact_at(file, &mut bytes, range.start)
                    .map_err(|e| Problem::Archive(e.into()))?;
                bytes
            }
        };
        let archive = Archive::open(file, range).map_err(Problem::Archive)?;
        let member = archive.member("data.pkl").map_err(Problem::Archive)?;
        let pickle = archive.read(member, LONGEST).map_err(Problem::Archive)?;
        Ok(namespace(&pickle)?.map(|fields| (bytes, fields)))
    };
    match parse() {
        Ok(found) => Ok(found.map(|(bytes, fields)| Arguments { file: path, bytes, fields })),
        Err(problem) => Err(Malformed { path, problem }),
    }
}

/// The fields of `args` in the pickle of a dict, or of a list that holds one.
pub(super) fn namespace(bytes: &[u8]) -> Result<Option<Map<String, Value>>, Problem> {
    let pickle = Pickle::read(bytes)?;
    let top = pickle.top("the common state");
    // An object among the records is the only one in its list.
    let state = match top.list() {
        Ok(mut items) => items.next().unwrap_or(top),
        Err(_) => top,
    };
    let Some(args) = state.get("args")?.filter(|args| !args.is_none()) else { return Ok(None) };
    let fields = args.object("Namespace", "argparse's Namespace")?;
    let mut left = MOST_VALUES;
    let mut all = Map::new();
    for (name, value) in fields.dict()? {
        all.insert(name.text()?.into(), plain(value, 2, &mut left)?);
    }
    Ok(Some(all))
}

/// A value as JSON has it; null for what has no place there, or lies deeper than a config does.
fn plain(value: View<'_, '_>, depth: usize, left: &mut usize) -> Result<Value, Problem> {
    // Lists may hold each other many times over.
    *left = left.checked_sub(1).ok_or(Problem::Common("has a command line without end"))?;
    if let Ok((module, name)) = value.global() {
        return Ok(serde_json::json!({ "_target_": format!("{module}.{name}") }));
    }
    if let (Some(depth), Ok(items)) = (depth.checked_sub(1), value.list()) {
        return items
            .map(|item| plain(item, depth, left))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array);
    }
    Ok(value.scalar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::torch::pickle::Writer;
    use crate::checkpoint::torch::zip::objects;
    use serde_json::json;

    /// A `common.pt` whose `args` are these.
    fn common(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.dict(|w| {
            w.text("iteration").int(120);
            w.text("args").object("argparse", "Namespace", |w| {
                w.dict(write);
            });
        });
        objects(&writer.finish())
    }

    fn arguments_in(bytes: &[u8]) -> Option<Result<Map<String, Value>, String>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(COMMON), bytes).unwrap();
        let found = arguments(dir.path()).unwrap();
        found.map(|found| found.map(|a| a.fields).map_err(|error| error.problem.to_string()))
    }

    #[test]
    fn a_command_line_is_read_as_data() {
        let bytes = common(|w| {
            w.text("num_layers").int(2);
            w.text("swiglu").bool(true);
            w.text("norm_epsilon").float(1e-5);
            w.text("params_dtype").global("torch", "bfloat16");
            w.text("window_size").ints([3, 0]);
            w.text("kv_channels").none();
            w.text("normalization").text("RMSNorm");
            w.text("exit_signal").call("signal", "Signals", |w| {
                w.int(15);
            });
        });
        let fields = arguments_in(&bytes).unwrap().unwrap();
        let want = json!({
            "num_layers": 2, "swiglu": true, "norm_epsilon": 1e-5, "kv_channels": null,
            "params_dtype": {"_target_": "torch.bfloat16"}, "window_size": [3, 0],
            "normalization": "RMSNorm", "exit_signal": null,
        });
        assert_eq!(Value::Object(fields), want);
    }

    #[test]
    fn without_arguments_there_are_none_and_what_is_no_archive_is_told() {
        let mut writer = Writer::new();
        writer.dict(|_| {});
        assert!(arguments_in(&objects(&writer.finish())).is_none());
        let problem = arguments_in(b"\x80\x02}.").unwrap().unwrap_err();
        assert!(problem.contains("no zip archive"), "{problem}");
        let bytes = common(|w| {
            w.text("x").call("os", "system", |w| {
                w.text("true");
            });
        });
        let problem = arguments_in(&bytes).unwrap().unwrap_err();
        assert!(problem.contains("os.system") && problem.contains("nothing was run"), "{problem}");
    }
}

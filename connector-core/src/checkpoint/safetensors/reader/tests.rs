use super::*;
use crate::checkpoint::files::{Found, OpenErrorKind};
use crate::checkpoint::safetensors::HeaderErrorKind;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::json;
use std::fs;
use tempfile::TempDir;

/// A directory of shards, each with tensors of one byte, and an index if there is one.
fn set(shards: &[(&str, &[&str])], index: Option<&[(&str, &str)]>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, tensors) in shards {
        shard(&dir.path().join(name), tensors);
    }
    if let Some(pairs) = index {
        let map: serde_json::Map<_, _> =
            pairs.iter().map(|&(tensor, shard)| (tensor.into(), shard.into())).collect();
        write_index(&dir, json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string());
    }
    dir
}

fn shard(path: &Path, tensors: &[&str]) {
    let tensors = tensors
        .iter()
        .map(|name| (*name, TensorView::new(Dtype::U8, vec![1], &name.as_bytes()[..1]).unwrap()));
    fs::write(path, serialize(tensors, None).unwrap()).unwrap();
}

fn write_index(dir: &TempDir, json: impl AsRef<[u8]>) {
    fs::write(dir.path().join(FORM.index), json).unwrap();
}

fn names(reader: &Reader) -> Vec<&str> {
    reader.tensors().iter().map(|tensor| tensor.name.as_str()).collect()
}

fn problems(dir: &TempDir) -> Vec<String> {
    Reader::open(dir).unwrap().problems().iter().map(Problem::to_string).collect()
}

fn refusal(path: impl AsRef<Path>) -> OpenErrorKind {
    Reader::open(path).unwrap_err().kind
}

#[test]
fn a_file() {
    let dir = set(&[("x.safetensors", &["a", "b"])], None);
    let path = dir.path().join("x.safetensors");
    let reader = Reader::open(&path).unwrap();
    assert_eq!(names(&reader), ["a", "b"]);
    assert!(reader.problems().is_empty());
    assert_eq!((reader.file_count(), reader.path(0)), (1, path.as_path()));
    assert_eq!(reader.file_len(0), fs::metadata(&path).unwrap().len());
    let mut byte = [0];
    reader.read_at(0, reader.tensors()[1].pieces.first().unwrap().1, &mut byte).unwrap();
    assert_eq!(&byte, b"b");
    let error = reader.read_at(0, reader.file_len(0), &mut byte).unwrap_err();
    assert!(error.to_string().contains("x.safetensors"), "{error}");
}

#[test]
fn with_an_index_only_its_shards_are_read() {
    let dir = set(
        &[
            ("1.safetensors", &["b"]),
            ("2.safetensors", &["a"]),
            ("consolidated.safetensors", &["a"]),
        ],
        Some(&[("a", "2.safetensors"), ("b", "1.safetensors")]),
    );
    let reader = Reader::open(&dir).unwrap();
    assert_eq!(names(&reader), ["b", "a"]);
    assert!(reader.problems().is_empty());
}

#[test]
fn without_an_index_the_single_file_or_all() {
    let dir = set(
        &[("2.safetensors", &["a"]), ("1.safetensors", &["b"]), (".1.safetensors", &["c"])],
        None,
    );
    assert_eq!(names(&Reader::open(&dir).unwrap()), ["b", "a"]);
    shard(&dir.path().join("model.safetensors"), &["d"]);
    assert_eq!(names(&Reader::open(&dir).unwrap()), ["d"]);
}

#[test]
fn paths_that_are_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert!(matches!(refusal(&missing), OpenErrorKind::Missing));
    assert!(matches!(refusal(&dir), OpenErrorKind::NoCheckpoint(Found::Nothing)));
    let pickle = dir.path().join("pytorch_model.bin");
    fs::write(&pickle, "").unwrap();
    for path in [dir.path(), &pickle] {
        let error = Reader::open(path).unwrap_err();
        assert!(error.to_string().contains("PyTorch pickle, `pytorch_model.bin`"), "{error}");
    }
}

#[test]
fn unreadable_indices() {
    let dir = set(&[("model.safetensors", &["a"])], None);
    let cases = [
        ("", "EOF"),
        ("[]", "an object with a `weight_map`"),
        ("{}", "missing field `weight_map`"),
        (r#"{"weight_map":[]}"#, "an object of strings"),
        (r#"{"weight_map":{"a":1}}"#, "expected a string"),
        (r#"{"weight_map":{"a":"x"}}{}"#, "trailing"),
        (r#"{"weight_map":{},"weight_map":{}}"#, "duplicate field"),
        (r#"{"weight_map":{}}"#, "is empty"),
    ];
    for (json, message) in cases {
        write_index(&dir, json);
        let error = Reader::open(&dir).unwrap_err();
        assert!(error.to_string().contains(message), "{json}: {error}");
        assert!(error.path.ends_with(FORM.index));
    }
}

#[test]
fn a_tensor_in_two_shards() {
    let dir = set(&[("1.safetensors", &["a", "b"]), ("2.safetensors", &["a"])], None);
    assert_eq!(
        problems(&dir),
        ["tensor `a` is in several shards: `1.safetensors`, `2.safetensors`"]
    );
    assert_eq!(names(&Reader::open(&dir).unwrap()), ["a", "b"]);
}

#[test]
fn a_duplicate_is_no_disagreement_with_the_index() {
    let dir = set(
        &[("1.safetensors", &["a", "b"]), ("2.safetensors", &["a"])],
        Some(&[("a", "2.safetensors"), ("b", "1.safetensors")]),
    );
    assert_eq!(problems(&dir).len(), 1);
}

#[test]
fn index_and_shards_disagree() {
    let dir = set(
        &[("1.safetensors", &["a", "b"]), ("2.safetensors", &["c", "d"])],
        Some(&[
            ("a", "1.safetensors"),
            ("c", "1.safetensors"),
            ("d", "2.safetensors"),
            ("e", "2.safetensors"),
        ]),
    );
    assert_eq!(
        problems(&dir),
        [
            "tensor `b` is in `1.safetensors`, but the index does not list it",
            "the index lists tensor `c` in `1.safetensors`, but it is in `2.safetensors`",
            "the index lists tensor `e` in `2.safetensors`, but no shard holds it",
        ]
    );
}

#[test]
fn a_shard_that_cannot_be_read_is_one_problem() {
    let dir = set(
        &[("1.safetensors", &["a"])],
        Some(&[
            ("a", "1.safetensors"),
            ("b", "2.safetensors"),
            ("c", "2.safetensors"),
            ("d", "3.safetensors"),
            ("e", "4.safetensors"),
        ]),
    );
    fs::write(dir.path().join("3.safetensors"), "PK").unwrap();
    fs::create_dir(dir.path().join("4.safetensors")).unwrap();
    let reader = Reader::open(&dir).unwrap();
    let [missing, malformed, directory] = reader.problems() else {
        panic!("{:?}", reader.problems());
    };
    assert_eq!(
        missing.to_string(),
        "shard `2.safetensors` does not exist; the index lists 2 tensors in it"
    );
    let Problem::Malformed(error) = malformed else { panic!("{malformed}") };
    assert_eq!(error.kind, HeaderErrorKind::TooShort { len: 2 });
    assert!(error.file.ends_with("3.safetensors"));
    assert_eq!(directory.to_string(), "shard `4.safetensors` is not a file");
    assert_eq!(names(&reader), ["a"]);
    assert_eq!(reader.file_count(), 1);
}

#[test]
fn shard_names_that_lead_elsewhere() {
    let outer = set(&[("secret.safetensors", &["a"])], None);
    let dir = outer.path().join("inner");
    fs::create_dir(&dir).unwrap();
    let absolute = outer.path().join("secret.safetensors");
    for name in
        ["../secret.safetensors", "..", "a/b.safetensors", "..\\x", absolute.to_str().unwrap()]
    {
        let json = json!({"weight_map": {"a": name}}).to_string();
        fs::write(dir.join(FORM.index), json).unwrap();
        let reader = Reader::open(&dir).unwrap();
        let [Problem::ShardName { shard }] = reader.problems() else {
            panic!("{:?}", reader.problems());
        };
        assert_eq!(shard, name);
        assert_eq!(reader.file_count(), 0);
    }
}

#[test]
fn a_tensor_listed_twice() {
    let twice = "the index lists tensor `a` more than once";
    // Of the two entries the first counts, whatever the other says, and whether there is the tensor.
    let cases: [(&str, &[&str]); 4] = [
        (r#""a":"1.safetensors","b":"2.safetensors","a":"1.safetensors""#, &[twice]),
        (r#""a":"1.safetensors","b":"2.safetensors","a":"2.safetensors""#, &[twice]),
        (
            r#""a":"2.safetensors","b":"2.safetensors","a":"1.safetensors""#,
            &[twice, "the index lists tensor `a` in `2.safetensors`, but it is in `1.safetensors`"],
        ),
        (
            r#""x":"2.safetensors","a":"1.safetensors","b":"2.safetensors","x":"1.safetensors""#,
            &[
                "the index lists tensor `x` more than once",
                "the index lists tensor `x` in `2.safetensors`, but no shard holds it",
            ],
        ),
    ];
    for (entries, expected) in cases {
        let dir = set(&[("1.safetensors", &["a"]), ("2.safetensors", &["b"])], None);
        write_index(&dir, format!(r#"{{"weight_map":{{{entries}}}}}"#));
        assert_eq!(problems(&dir), expected, "{entries}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("blobs");
    let snapshot = cache.path().join("snapshots");
    fs::create_dir(&blobs).unwrap();
    fs::create_dir(&snapshot).unwrap();
    shard(&blobs.join("0a1b"), &["a"]);
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(Path::new("../blobs").join(to), snapshot.join(name)).unwrap();
    };
    link("0a1b", "1.safetensors");
    link("gone", "2.safetensors");
    let reader = Reader::open(&snapshot).unwrap();
    assert_eq!(names(&reader), ["a"]);
    assert_eq!(
        reader.problems()[0].to_string(),
        "shard `2.safetensors` does not exist: it is a link to ../blobs/gone"
    );
    assert_eq!(names(&Reader::open(snapshot.join("1.safetensors")).unwrap()), ["a"]);
}

use super::*;
use crate::checkpoint::safetensors::{OutputTensor, Reader};
use crate::store::{Dtype, Source};
use std::fs;

fn layout(max_shard_size: u64) -> Layout {
    let tensor = |name| OutputTensor { name, dtype: Dtype::U8, shape: &[4] };
    Layout::new(&[tensor("a"), tensor("b")], &[], max_shard_size).unwrap()
}

#[test]
fn what_is_not_written_is_zero() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::create(&dir, layout(8)).unwrap();
    let start = writer.layout.placements()[0].offset;
    writer.write_at(0, start + 1, b"xy").unwrap();
    writer.finish().unwrap();
    let bytes = fs::read(dir.path().join("model.safetensors")).unwrap();
    assert_eq!(&bytes[start as usize..], b"\0xy\0\0\0\0\0");
}

#[test]
fn the_index_comes_last() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    let writer = Writer::create(&dir, layout(4)).unwrap();
    assert!(!index.exists());
    writer.finish().unwrap();
    assert!(index.exists());
    let reader = Reader::open(&dir).unwrap();
    assert!(reader.problems().is_empty());
    assert_eq!((reader.file_count(), reader.tensors().len()), (2, 2));
}

#[test]
fn existing_files_are_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, "mine").unwrap();
    let error = Writer::create(&dir, layout(8)).unwrap_err();
    assert!(error.to_string().starts_with("cannot create "), "{error}");
    assert_eq!(fs::read(path).unwrap(), b"mine");
}

#[test]
fn writes_outside_of_the_tensors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::create(&dir, layout(8)).unwrap();
    let start = writer.layout.placements()[0].offset;
    for (offset, bytes) in [(0, 1), (start - 1, 1), (start, 9), (start + 8, 1), (u64::MAX, 2)] {
        let error = writer.write_at(0, offset, &vec![1; bytes]).unwrap_err();
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
    writer.write_at(0, start + 8, b"").unwrap();
    writer.write_at(0, start, &[1; 8]).unwrap();
}

#[cfg(unix)]
#[test]
fn files_get_the_mode_that_any_new_file_gets() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    Writer::create(&dir, layout(8)).unwrap().finish().unwrap();
    fs::write(dir.path().join("other"), "").unwrap();
    let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("model.safetensors"), mode("other"));
}

//! Checkpoints that lie.

use super::super::{DistOptions, Layout, Writer, record};
use super::*;
use crate::base::{Cancel, NoProgress};
use crate::checkpoint::checksums;
use crate::checkpoint::safetensors::OutputTensor;
use crate::checkpoint::torch::pickle::Writer as PickleWriter;
use crate::checkpoint::torch::zip;
use crate::store::positioned::write_all_at;
use crate::store::{Dtype, Sink};

/// Two layers of a matrix, bytes 0 to 7 and 8 to 15, each gated: 4 pieces; and a norm.
fn checkpoint() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let layers = [0, 1].map(|layer| format!("decoder.layers.{layer}.mlp.linear_fc1.weight"));
    let layer = |name| OutputTensor { name, dtype: Dtype::U8, shape: &[4, 2] };
    let norm = OutputTensor { shape: &[3], ..layer("decoder.final_layernorm.weight") };
    let tensors = [layer(&layers[0]), layer(&layers[1]), norm];
    let options = DistOptions { gated: true, prefix: "module.", ..DistOptions::default() };
    let layout = Layout::new(&tensors, 1 << 20, &options).unwrap();
    let writer = Writer::create(dir.path(), layout.clone()).unwrap();
    let mut next = 0u8;
    for (parts, len) in layout.places().iter().zip([4, 4, 3]) {
        for part in parts {
            let bytes: Vec<u8> = (next..next + len).collect();
            writer.write_at(part.file, part.offset, &bytes).unwrap();
            next += len;
        }
    }
    let frame = writer.write_at(0, 0, &[0]).unwrap_err().to_string();
    assert!(frame.contains("outside of the tensors' bytes"), "{frame}");
    writer.finish(2, &Cancel::default()).unwrap();
    dir
}

/// What `.metadata` of the checkpoint says.
fn stored(dir: &Path) -> Vec<Stored> {
    let bytes = fs::read(dir.join(METADATA)).unwrap();
    metadata::read(&bytes, names::is_parameter).unwrap().0
}

/// What is wrong with the checkpoint, one problem a line.
fn problems(dir: &Path) -> String {
    match Reader::open(dir) {
        Ok(reader) => reader.problems().iter().map(|p| format!("{p}\n")).collect(),
        Err(error) => error.to_string(),
    }
}

/// What is wrong if `.metadata` says something else.
fn problems_after(change: impl FnOnce(&mut Vec<Stored>)) -> String {
    let dir = checkpoint();
    let mut tensors = stored(dir.path());
    change(&mut tensors);
    fs::write(dir.path().join(METADATA), metadata::write(&tensors, &[])).unwrap();
    problems(dir.path())
}

type Change = fn(&mut Vec<Stored>);

fn place(tensors: &mut [Stored], chunk: usize) -> &mut Place {
    tensors[0].chunks[chunk].record.as_mut().unwrap()
}

#[test]
fn the_parameters_are_read_and_their_checksums_are_right() {
    let dir = checkpoint();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(problems(dir.path()), "");
    assert_eq!(reader.others(), 2);
    let names: Vec<_> = reader.tensors().iter().map(|t| (t.name.as_str(), &t.shape[..])).collect();
    assert_eq!(
        names,
        [
            ("decoder.final_layernorm.weight", &[3][..]),
            ("decoder.layers.0.mlp.linear_fc1.weight", &[4, 2]),
            ("decoder.layers.1.mlp.linear_fc1.weight", &[4, 2]),
        ]
    );
    let mut bytes = Vec::new();
    for run in reader.tensors()[2].runs(2, 5) {
        let mut part = vec![0; run.len as usize];
        reader.read_at(run.file, run.offset, &mut part).unwrap();
        bytes.extend(part);
    }
    assert_eq!(bytes, [10, 11, 12, 13, 14]);
    let file = File::open(dir.path().join("__0_0.distcp")).unwrap();
    for tensor in stored(dir.path()) {
        for Place { offset, length, .. } in tensor.chunks.into_iter().filter_map(|c| c.record) {
            let archive = zip::Archive::open(&file, offset..offset + length).unwrap();
            for name in ["data.pkl", "byteorder", "version", "data/0"] {
                let member = archive.member(name).unwrap();
                let data = archive.read(member, 1000).unwrap();
                assert_eq!(member.crc(), Some(zip::crc32(&data)), "{name}");
            }
        }
    }
}

#[test]
fn a_changed_byte_of_a_tensor_is_found_on_request() {
    let dir = checkpoint();
    let check = || {
        let reader = Reader::open(dir.path()).unwrap();
        checksums::check(&reader, 2, &NoProgress, &Cancel::default()).unwrap()
    };
    let sound = check();
    assert_eq!((sound.records, sound.bytes, sound.without), (5, 19, 0));
    assert!(sound.damaged.is_empty());
    let reader = Reader::open(dir.path()).unwrap();
    let at = reader.tensors()[1].pieces.first().unwrap().1;
    let file = fs::OpenOptions::new().write(true).open(dir.path().join("__0_0.distcp")).unwrap();
    write_all_at(&file, &[99], at + 1).unwrap();
    let damaged = check();
    assert_eq!((damaged.records, damaged.damaged.len()), (4, 1));
    let problem = damaged.damaged[0].to_string();
    assert!(problem.contains("__0_0.distcp: the record of `module."), "{problem}");
    let cancel = Cancel::default();
    cancel.cancel();
    let stopped = checksums::check(&reader, 1, &NoProgress, &cancel);
    assert!(matches!(stopped, Err(crate::checkpoint::Error::Cancelled(_))));
}

#[test]
fn pieces_that_do_not_tile_are_refused() {
    let cases: [(Change, &str); 8] = [
        (|t| drop(t[0].chunks.pop()), "in none"),
        (|t| t[0].shape[0] = 3, "in none"),
        (|t| t[0].shape[1] = 2, "outside"),
        (|t| t[0].chunks[1].start[1] = 1, "overlap"),
        (|t| t[0].chunks[1].start[1] = usize::MAX, "a number of 0 or more"),
        (|t| t[0].shape.push(1), "outside"),
        (|t| t[0].chunks[2].record = None, "does not say where the piece at [1, 0, 0]"),
        (|t| t[0].dtype = "quint8".into(), "has the type torch.quint8"),
    ];
    for (change, want) in cases {
        let problems = problems_after(change);
        assert!(problems.contains(want), "{want}: {problems}");
    }
}

#[test]
fn records_that_are_not_what_metadata_says_are_refused() {
    let cases: [(Change, &str); 9] = [
        (|t| t[0].dtype = "int8".into(), "holds U8 [1, 2, 2]; `.metadata` says I8 [1, 2, 2]"),
        (|t| *place(t, 0) = t[1].chunks[0].record.clone().unwrap(), "overlap"),
        (|t| *place(t, 0) = t[1].chunks[0].record.clone().unwrap(), "holds U8 [3]"),
        (|t| place(t, 0).length -= 1, "no zip archive"),
        (|t| (place(t, 0).offset, place(t, 0).length) = (1, place(t, 0).length - 1), "malformed"),
        (|t| place(t, 3).length = 1 << 40, "was it cut off?"),
        (|t| place(t, 3).offset = i64::MAX as u64, "was it cut off?"),
        (|t| place(t, 1).offset = t[0].chunks[0].record.as_ref().unwrap().offset, "overlap"),
        (
            |t| place(t, 0).file = "absent.distcp".into(),
            "absent.distcp: does not exist; it holds 1",
        ),
    ];
    for (change, want) in cases {
        let problems = problems_after(change);
        assert!(problems.contains(want), "{want}: {problems}");
    }
}

#[test]
fn paths_out_of_the_directory_are_refused() {
    for file in ["../x", "/etc/passwd", "", ".", "a/../../x", "..\\x", "c:x", "x\0"] {
        let problems = problems_after(|tensors| place(tensors, 0).file = file.into());
        assert!(
            problems.contains("only files inside the checkpoint are read"),
            "{file:?}: {problems}"
        );
    }
}

#[test]
fn tensors_that_stand_for_one_parameter_are_refused() {
    let problems =
        problems_after(|tensors| tensors[1].key = "decoder.layers.0.mlp.linear_fc1.weight".into());
    assert!(problems.contains("both are the parameter `decoder.layers.0.mlp"), "{problems}");
}

#[test]
fn other_pickles_are_no_metadata() {
    let dir = checkpoint();
    for (pickle, want) in [
        (&b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R."[..], "calls `os.system`"),
        (b"\x80\x02]q\x00h\x00a.", "expected an object of torch's Metadata, found a list of 1"),
        (b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81}b.", "storage_data"),
        (b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81.", "expected a dict"),
        (b"", "ends in the middle"),
        (b"PK\x03\x04", "instruction 0x50"),
    ] {
        fs::write(dir.path().join(METADATA), pickle).unwrap();
        let problem = problems(dir.path());
        assert!(problem.contains(want) && problem.contains(".metadata"), "{want}: {problem}");
    }
    fs::remove_file(dir.path().join(METADATA)).unwrap();
    assert!(problems(dir.path()).contains("is missing, or no file of reasonable length"));
}

#[test]
fn other_backends_are_refused() {
    let dir = checkpoint();
    for (json, want) in [
        (r#"{"sharded_backend": "zarr"}"#, "names the backend \"zarr\""),
        ("{}", "has no `sharded_backend`"),
        ("]", "is not JSON"),
    ] {
        fs::write(dir.path().join(METADATA_JSON), json).unwrap();
        let problem = problems(dir.path());
        assert!(problem.contains(want) && problem.contains("torch_dist"), "{problem}");
    }
}

#[test]
fn a_piece_may_be_no_view_into_something_else() {
    // Strides, offsets and storages that are no piece by itself.
    let dir = checkpoint();
    let file = fs::OpenOptions::new().read(true).write(true).open(dir.path().join("__0_0.distcp"));
    let file = file.unwrap();
    let size = [1, 2, 2];
    let whole = record::pickle(Dtype::U8, &size).unwrap();
    let place = stored(dir.path())[0].chunks[0].record.clone().unwrap();
    let record = place.offset..place.offset + place.length;
    let archive = zip::Archive::open(&file, record.clone()).unwrap();
    let at = archive.member("data.pkl").unwrap().data.start;
    // K 00: the offset into the storage; then the sizes; then strides 4, 2, 1.
    let find = |part: &[u8]| whole.windows(part.len()).position(|w| w == part).unwrap();
    let strides = find(b"(K\x04K\x02K\x01t") as u64;
    let offset = find(b"QK\x00(") as u64;
    for (place, byte, want) in [
        (strides + 6, 2, "not one behind the other"),
        (offset + 2, 1, "fewer elements than its shape"),
    ] {
        let mut changed = whole.clone();
        changed[place as usize] = byte;
        // Alone it is a damage to the file.
        write_all_at(&file, &changed, at).unwrap();
        assert!(
            problems(dir.path()).contains("`data.pkl` has the CRC"),
            "{}",
            problems(dir.path())
        );
        // With the right CRC it is what was written.
        let frame = zip::frame(&changed, 4);
        write_all_at(&file, &frame.head, record.start).unwrap();
        write_all_at(&file, &frame.tail, record.end - frame.tail.len() as u64).unwrap();
        assert!(problems(dir.path()).contains(want), "{}", problems(dir.path()));
    }
    let frame = zip::frame(&whole, 4);
    write_all_at(&file, &frame.head, record.start).unwrap();
    write_all_at(&file, &frame.tail, record.end - frame.tail.len() as u64).unwrap();
    assert_eq!(problems(dir.path()), "");
}

#[test]
fn fp8_is_read_from_the_records_that_newer_types_have() {
    let dir = tempfile::tempdir().unwrap();
    let mut pickle = PickleWriter::new();
    pickle.call("torch._utils", "_rebuild_tensor_v3", |args| {
        args.persistent(|id| {
            id.tuple(|id| {
                let storage = id.text("storage").global("torch.storage", "UntypedStorage");
                storage.text("0").text("cpu").int(4);
            });
        });
        args.int(0).ints([2, 2]).ints([2, 1]).bool(false);
        args.call("collections", "OrderedDict", |_| {});
        args.global("torch", "float8_e4m3fn");
    });
    let frame = zip::frame(&pickle.finish(), 4);
    let record = [&frame.head[..], &[1, 2, 3, 4], &frame.tail].concat();
    fs::write(dir.path().join("f"), &record).unwrap();
    let place = Place { file: "f".into(), offset: 0, length: record.len() as u64 };
    let chunk = Chunk { start: vec![0, 0], size: vec![2, 2], record: Some(place) };
    let stored = |dtype: &str, chunk| Stored {
        key: "x".into(),
        dtype: dtype.into(),
        shape: vec![2, 2],
        chunks: vec![chunk],
    };
    let metadata = metadata::write(&[stored("float8_e4m3fn", chunk)], &[]);
    fs::write(dir.path().join(METADATA), metadata).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(problems(dir.path()), "");
    assert_eq!(
        (reader.tensors()[0].dtype, &reader.tensors()[0].shape[..]),
        (Dtype::F8E4M3, &[2, 2][..])
    );
    let mut bytes = [0; 4];
    reader.read_at(0, reader.tensors()[0].pieces.first().unwrap().1, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
}

proptest::proptest! {
    #[test]
    fn a_changed_byte_of_metadata_never_panics(at: usize, with: u8) {
        let dir = checkpoint();
        let mut bytes = fs::read(dir.path().join(METADATA)).unwrap();
        let at = at % bytes.len();
        bytes[at] = with;
        fs::write(dir.path().join(METADATA), bytes).unwrap();
        problems(dir.path());
    }
}

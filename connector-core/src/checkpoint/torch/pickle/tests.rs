use super::*;

fn read(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    Pickle::read(bytes)
}

fn problem(bytes: &[u8]) -> String {
    read(bytes).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn plain_values() {
    let cases: [(&[u8], serde_json::Value); 12] = [
        (b"\x80\x02N.", serde_json::Value::Null),
        (b"\x88.", true.into()),
        (b"\x89.", false.into()),
        (b"K\xff.", 255.into()),
        (b"M\x00\x01.", 256.into()),
        (b"J\xff\xff\xff\xff.", (-1).into()),
        (b"\x8a\x00.", 0.into()),
        (b"\x8a\x01\xff.", (-1).into()),
        (b"\x8a\x02\xff\x00.", 255.into()),
        (b"\x8a\x05\x00\x00\x00\x00\x01.", (1_i64 << 32).into()),
        (b"G\x3f\xf0\x00\x00\x00\x00\x00\x00.", 1.0.into()),
        (b"\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00N.", serde_json::Value::Null),
    ];
    for (bytes, want) in cases {
        assert_eq!(read(bytes).unwrap().top("t").scalar(), want, "{bytes:?}");
    }
}

#[test]
fn what_is_written_is_read() {
    let mut writer = Writer::new();
    writer.dict(|w| {
        w.text("numbers").list(|w| {
            for n in [0, 255, 256, 65535, 65536, 1 << 31, (1 << 31) - 1, 1 << 40, i64::MAX as u64] {
                w.int(n);
            }
        });
        w.text("size").call("torch", "Size", |w| {
            w.ints([2, 3]);
        });
        w.text("object").object("torch.x", "Class", |w| {
            w.dict(|w| {
                w.text("size").bool(true);
            });
        });
        w.text("storage").persistent(|w| {
            w.ints([7]);
        });
        w.text("none").none();
    });
    let bytes = writer.finish();
    let pickle = read(&bytes).unwrap();
    let top = pickle.top("test");
    let numbers: Vec<_> =
        top.field("numbers").unwrap().list().unwrap().map(|n| n.count().unwrap()).collect();
    assert_eq!(
        numbers,
        [0, 255, 256, 65535, 65536, 1 << 31, (1 << 31) - 1, 1 << 40, i64::MAX as u64]
    );
    assert_eq!(top.field("size").unwrap().dimensions().unwrap(), [2, 3]);
    let object = top.field("object").unwrap().object("Class", "a Class").unwrap();
    assert!(object.field("size").is_ok());
    let storage = top.field("storage").unwrap().persistent().unwrap();
    assert_eq!(storage.dimensions().unwrap(), [7]);
    assert!(top.field("none").unwrap().is_none());
    let error = top.field("more").err().unwrap().to_string();
    assert_eq!(error, "more: expected a value, found nothing under this name in test");
}

#[test]
fn many_notes_take_long_numbers() {
    let mut writer = Writer::new();
    writer.list(|w| {
        for i in 0..600 {
            w.text(&format!("{}", i % 300));
        }
    });
    let bytes = writer.finish();
    let pickle = read(&bytes).unwrap();
    let texts: Vec<_> = pickle.top("t").list().unwrap().map(|t| t.text().unwrap()).collect();
    assert_eq!((texts.len(), texts[299], texts[599]), (600, "299", "299"));
}

#[test]
fn malformed_programs() {
    for (bytes, want) in [
        (&b""[..], "ends in the middle, at byte 0"),
        (b"N", "ends in the middle, at byte 1"),
        (b".", "nothing is on the stack"),
        (b"(.", "nothing is on the stack"),
        (b"X\xff\xff\xff\xffabc.", "ends in the middle"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "ends in the middle"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "ends in the middle"),
        (b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"ctorch\nSize", "ends in the middle"),
        (b"\x80\x63N.", "protocol"),
        (b"N\x85\x86.", "nothing is on the stack"),
        (b"t.", "there is no mark"),
        (b"K\x01K\x02a.", "nothing to fill"),
        (b"](K\x01u.", "a key has no value"),
        (b"N\x85(K\x01e.", "only a list"),
        (b"](K\x01K\x02u.", "only a dict"),
        (b"]Nb.", "only an object"),
        (b"N)R.", "no class or function"),
        (b"h\x07.", "nothing is noted"),
        (b"q\x07.", "nothing to note"),
        (b"NN\x93.", "no name"),
        (b"\xff.", "instruction 0xff at byte 0"),
        // INST, OBJ, EXT1 and PERSID belong to other ages; EXT1 calls what a program registered.
        (b"(ios\nsystem\n.", "instruction 0x69"),
        (b"\x82\x01.", "instruction 0x82"),
    ] {
        let problem = problem(bytes);
        assert!(problem.contains(want), "{bytes:?}: {problem}");
    }
}

#[test]
fn calls_of_what_is_no_part_of_a_checkpoint_are_refused() {
    for (bytes, want) in [
        (&b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R."[..], "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
        (b"cbuiltins\ngetattr\n)\x81.", "builtins.getattr"),
        (b"csubprocess\nPopen\n)}\x92.", "subprocess.Popen"),
        (b"ctorchx.y\nz\n)R.", "torchx.y.z"),
    ] {
        let problem = problem(bytes);
        assert!(problem.contains(want) && problem.contains("nothing was run"), "{problem}");
    }
    assert_eq!(problem(b"ctorch\nSize\n)R."), "");
    assert_eq!(problem(b"cbuiltins\nset\n)R."), "");
}

#[test]
fn bombs_are_refused_and_recursion_is_harmless() {
    // 30 lists, each of ten times the one before: 10^30 if anybody counted; 300 values here.
    let mut laughs = b"]q\x00".to_vec();
    for level in 1..30 {
        laughs.extend([b']', b'q', level, b'(']);
        (0..10).for_each(|_| laughs.extend([b'h', level - 1]));
        laughs.push(b'e');
    }
    laughs.push(b'.');
    assert!(read(&laughs).is_ok());
    // A list that holds itself, and a deep one.
    let pickle = read(b"]q\x00h\x00a.").unwrap();
    let inside = pickle.top("t").list().unwrap().next().unwrap();
    assert_eq!(inside.list().unwrap().len(), 1);
    let deep = [&b"N"[..], &[0x85; 10_000], b"."].concat();
    assert!(read(&deep).is_ok());
    let marks = [&[b'('; 1_000][..], b"."].concat();
    assert!(problem(&marks).contains("more than 128 collections"));
    // A byte of the file makes 16 of memory; in real metadata it makes four.
    let many = [&b"\x80\x02("[..], &[b'}'; 1 << 20], b"t."].concat();
    assert!(problem(&many).contains("bytes of values, four for each of its own"));
    // Notes under all sorts of numbers.
    let mut notes = b"N".to_vec();
    (0..50_000_u32).for_each(|n| notes.extend([&b"r"[..], &(n << 8 | 7).to_le_bytes()].concat()));
    assert!(problem(&notes).contains("four for each"), "{}", problem(&notes));
}

mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pickle::read(&bytes);
        }

        #[test]
        fn programs_never_panic(
            ops in proptest::collection::vec(
                prop::sample::select(b"N(])}tae.su\x85\x86\x87Rb\x81Q0".to_vec()), 0..60,
            ),
        ) {
            let program = [&b"ctorch\nSize\nq\x00"[..], &ops, b"h\x00."].concat();
            if let Ok(pickle) = Pickle::read(&program) {
                let _ = pickle.top("t").dimensions();
            }
        }
    }
}

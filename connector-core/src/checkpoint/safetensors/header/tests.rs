use super::HeaderErrorKind as Kind;
use super::*;
use crate::checkpoint::safetensors::{HeaderError, InvalidTensor};
use crate::store::positioned::write_all_at;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Header, Kind> {
    let file = tempfile::tempfile().unwrap();
    write_all_at(&file, bytes, 0).unwrap();
    super::read(&file, bytes.len() as u64).unwrap()
}

/// A file of this header and `data` zeros.
fn file(json: impl AsRef<[u8]>, data: usize) -> Vec<u8> {
    let json = json.as_ref();
    [&(json.len() as u64).to_le_bytes(), json, &vec![0; data]].concat()
}

fn legal(json: &str, data: usize) -> Header {
    let bytes = file(json, data);
    safetensors::SafeTensors::deserialize(&bytes).expect(json);
    read(&bytes).unwrap_or_else(|kind| panic!("{json}: {kind}"))
}

#[test]
fn legal_headers() {
    let empty = legal("{}", 0);
    assert_eq!((empty.tensors.len(), empty.data_start), (0, 10));
    let spaces = legal(r#"{"__metadata__":{"format":"pt"}}     "#, 0);
    assert_eq!(spaces.metadata["format"], "pt");
    let scalar = legal(r#"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4);
    assert_eq!(scalar.tensors[0].bytes, 61..65);
    legal(r#"{"e":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]}}"#, 0);
    legal(r#"{"f":{"dtype":"F4","shape":[2],"data_offsets":[0,1],"more":[{}]}}"#, 1);
    let escaped = legal(r#"{"\u00e9\"":{"dtype":"U\u0038","shape":[1],"data_offsets":[0,1]}}"#, 1);
    assert_eq!(escaped.tensors[0].name, "é\"");
}

#[test]
fn tensors_come_in_the_order_of_their_bytes() {
    let header = legal(
        r#"{"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},
            "e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},
            "a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        3,
    );
    let names: Vec<_> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "e", "b"]);
}

#[test]
fn files_that_hold_no_header() {
    let long = 100_000_001;
    let cases: [(&[u8], Kind); 10] = [
        (b"", Kind::TooShort { len: 0 }),
        (b"1234567", Kind::TooShort { len: 7 }),
        (b"version https://git-lfs.github.com/spec/v1\n", Kind::LfsPointer),
        (&u64::MAX.to_le_bytes(), Kind::HeaderTooLarge { header: u64::MAX }),
        (&u64::to_le_bytes(long), Kind::HeaderTooLarge { header: long }),
        (b"\x03\0\0\0\0\0\0\0{}", Kind::HeaderBeyondFile { header: 3, available: 2 }),
        (b"\0\0\0\0\0\0\0\0", Kind::NotAnObject { found: None }),
        (b"\x03\0\0\0\0\0\0\0 {}", Kind::NotAnObject { found: Some(b' ') }),
        (b"\x02\0\0\0\0\0\0\0[]", Kind::NotAnObject { found: Some(b'[') }),
        (b"\x02\0\0\0\0\0\0\0{\xff", Kind::NotUtf8 { at: 1 }),
    ];
    for (bytes, kind) in cases {
        assert_eq!(read(bytes), Err(kind), "{}", bytes.escape_ascii());
    }
}

/// Checks what is refused, and how the message reads.
macro_rules! refused {
    ($($name:ident: $json:expr, $data:expr => $kind:pat, $message:expr;)*) => {$(
        #[test]
        fn $name() {
            let kind = read(&file($json, $data)).unwrap_err();
            assert!(matches!(kind, $kind), "{kind:?}");
            let message = kind.to_string();
            assert!(message.contains($message), "{message}");
        }
    )*};
}

refused! {
    not_json: "{nonsense", 0 => Kind::Json { .. }, "not a JSON object: key must be a string";
    json_goes_on: "{}{}", 0 => Kind::Json { .. }, "trailing characters at line 1 column 3";
    json_ends: r#"{"a":{"dtype""#, 0 => Kind::Entry { .. }, "EOF";
    deep: format!("{{\"a\":{}", "[".repeat(100_000)), 0 => Kind::Entry { .. }, "tensor `a`";
    deep_extra: format!(r#"{{"a":{{"x":{}"#, "[".repeat(100_000)), 0 => Kind::Entry { .. }, "EOF";

    entry_null: r#"{"a":null}"#, 0 => Kind::Entry { .. }, "tensor `a` has the wrong form: invalid type: null";
    entry_lacks: r#"{"a":{"dtype":"U8","shape":[]}}"#, 1 => Kind::Entry { .. }, "missing field `data_offsets`";
    entry_field_twice: r#"{"a":{"dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1]}}"#, 1
        => Kind::Entry { .. }, "duplicate field `dtype`";
    dim_negative: r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 1 => Kind::Entry { .. }, "integer `-1`";
    dim_fraction: r#"{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#, 1 => Kind::Entry { .. }, "1.5";
    offset_huge: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551616]}}"#, 1
        => Kind::Entry { .. }, "expected u64";
    offsets_three: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#, 1 => Kind::Entry { .. }, "tensor `a`";

    metadata_list: r#"{"__metadata__":[1]}"#, 0 => Kind::Metadata { .. }, "an object of strings";
    metadata_null: r#"{"__metadata__":null}"#, 0 => Kind::Metadata { .. }, "an object of strings";
    metadata_number: r#"{"__metadata__":{"a":1}}"#, 0 => Kind::Metadata { .. }, "expected a string";

    key_twice: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 2
        => Kind::DuplicateKey { .. }, "`a` comes more than once";
    metadata_twice: r#"{"__metadata__":{},"__metadata__":{}}"#, 0 => Kind::DuplicateKey { .. }, "`__metadata__`";
    metadata_key_twice: r#"{"__metadata__":{"k":"1","k":"1"}}"#, 0 => Kind::DuplicateKey { .. }, "`k`";

    name_empty: r#"{"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#, 1
        => Kind::Tensor(InvalidTensor::EmptyName), "empty name";
    name_control: r#"{"a\u001b[2J":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#, 1
        => Kind::Tensor(InvalidTensor::ControlInName { .. }), r"`a\u{1b}[2J`";
    name_long: format!(r#"{{"{}":{{"dtype":"U8","shape":[],"data_offsets":[0,1]}}}}"#, "x".repeat(5000)), 1
        => Kind::Tensor(InvalidTensor::LongName { .. }), "…` has 5000 bytes; at most 4096";

    dtype_unknown: r#"{"a":{"dtype":"F12","shape":[1],"data_offsets":[0,1]}}"#, 1
        => Kind::UnknownDtype { .. }, "tensor `a` has the unknown dtype `F12`";
    size_overflows: r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]}}"#, 1
        => Kind::Tensor(InvalidTensor::Overflow { .. }), "`a`, U8 [4294967296, 4294967296]";
    partial_byte: r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, 2
        => Kind::Tensor(InvalidTensor::PartialByte { .. }), "`a`, F4 [3], does not fill whole bytes";
    size_differs: r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4
        => Kind::Size { expected: 8, found: 4, .. }, "`a`, F32 [2], takes 8 bytes, but its data_offsets span 4";
    reversed: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#, 1
        => Kind::Reversed { begin: 1, end: 0, .. }, "go backwards, from 1 to 0";

    overlap: r#"{"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 3
        => Kind::Overlap { at: 1, .. }, "`b` begins at byte 1 of the data, inside tensor `a`";
    same_bytes: r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 2
        => Kind::Overlap { at: 0, .. }, "`b` begins";
    empty_inside: r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}"#, 2
        => Kind::Overlap { at: 1, .. }, "`b` begins";
    hole_first: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#, 3
        => Kind::Hole { at: 0, bytes: 2, .. }, "a hole of 2 bytes at byte 0, before tensor `a`";
    hole_between: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#, 3
        => Kind::Hole { at: 1, bytes: 1, .. }, "a hole of 1 byte at byte 1, before tensor `b`";
    beyond: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}}"#, 1
        => Kind::BeyondFile { available: 1, .. }, "`a` ends at byte 18446744073709551615 of the data, of which the file has 1";
    truncated: r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[9],"data_offsets":[2,11]}}"#, 3
        => Kind::Truncated { missing: 8, .. }, "8 bytes missing, from inside tensor `b` on";
    trailing: r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 4 => Kind::Trailing { bytes: 3 }, "goes on for 3 bytes after";
    trailing_alone: "{}", 1 => Kind::Trailing { bytes: 1 }, "for 1 byte after";
}

#[test]
fn the_error_names_the_file() {
    let kind = read(b"").unwrap_err();
    let error = HeaderError { file: "dir/x.safetensors".into(), kind };
    assert_eq!(
        error.to_string(),
        "dir/x.safetensors: has 0 bytes; a safetensors file has at least 8"
    );
}

/// Pieces that headers are made of, so that random ones get past the first check.
fn scrap() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "\"b\"",
        "\"dtype\"",
        "\"shape\"",
        "\"U8\"",
        "\"F4\"",
        "\"data_offsets\"",
        "\"__metadata__\"",
        "0",
        "1",
        "2",
        "-1",
        "1e9",
        "18446744073709551615",
        "null",
        " ",
        "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}",
        "\"b\":{\"dtype\":\"F4\",\"shape\":[0],\"data_offsets\":[2,2]}",
        "\"__metadata__\":{}",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    /// What we accept, the safetensors crate accepts.
    #[test]
    fn arbitrary_headers_do_no_harm(json in scrap(), data in 0..4usize) {
        for json in [json.clone(), format!("{{{json}}}")] {
            let bytes = file(json, data);
            if read(&bytes).is_ok() {
                prop_assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok());
            }
        }
    }
}

#[test]
fn a_hundred_thousand_tensors() {
    let entry = |i: usize| {
        let end = 128 * (i + 1);
        format!(
            r#""model.layers.{i}.mlp.experts.{i}.down_proj.weight":{{"dtype":"BF16","shape":[8,8],"data_offsets":[{},{end}]}}"#,
            128 * i
        )
    };
    let json = format!("{{{}}}", (0..100_000).map(entry).collect::<Vec<_>>().join(","));
    let header = read(&file(json, 12_800_000)).unwrap();
    assert_eq!(header.tensors.len(), 100_000);
    assert_eq!(header.tensors[99_999].dtype, Dtype::Bf16);
}

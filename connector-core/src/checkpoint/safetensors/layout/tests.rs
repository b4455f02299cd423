use super::*;

fn tensor<'a>(name: &'a str, dtype: Dtype, shape: &'a [usize]) -> OutputTensor<'a> {
    OutputTensor { name, dtype, shape }
}

/// A tensor of `N` bytes.
fn bytes<const N: usize>(name: &str) -> OutputTensor<'_> {
    tensor(name, Dtype::U8, const { &[N] })
}

fn header(layout: &Layout, file: FileId) -> &str {
    std::str::from_utf8(&layout.files()[file].header[8..]).unwrap()
}

#[test]
fn one_file_has_no_index_and_large_elements_first() {
    let tensors = [
        tensor("a", Dtype::U8, &[3]),
        tensor("b", Dtype::F32, &[2]),
        tensor("c", Dtype::Bf16, &[1]),
        tensor("d", Dtype::F32, &[]),
    ];
    let layout = Layout::new(&tensors, &[], u64::MAX).unwrap();
    assert_eq!(layout.index(), None);
    assert_eq!(layout.files().len(), 1);
    assert_eq!(layout.files()[0].name, "model.safetensors");
    assert_eq!(
        header(&layout, 0).trim_end_matches(' '),
        concat!(
            r#"{"__metadata__":{"format":"pt"},"#,
            r#""b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#,
            r#""d":{"dtype":"F32","shape":[],"data_offsets":[8,12]},"#,
            r#""c":{"dtype":"BF16","shape":[1],"data_offsets":[12,14]},"#,
            r#""a":{"dtype":"U8","shape":[3],"data_offsets":[14,17]}}"#,
        )
    );
    let start = layout.files()[0].header.len() as u64;
    assert_eq!(start % 64, 0);
    assert_eq!(layout.files()[0].len, start + 17);
    assert_eq!(layout.placements()[0], Placement { file: 0, offset: start + 14, len: 3 });
    assert_eq!(layout.placements()[1], Placement { file: 0, offset: start, len: 8 });
}

#[test]
fn no_tensors_make_one_file() {
    let layout = Layout::new(&[], &[], 0).unwrap();
    assert_eq!(layout.files().len(), 1);
    assert_eq!(layout.files()[0].len, 64);
    assert_eq!(layout.index(), None);
}

#[test]
fn shards() {
    let counts = |sizes: &[u64], max| split(sizes, max).iter().map(Range::len).collect::<Vec<_>>();
    assert_eq!(counts(&[4, 4, 4], 12), [3]);
    assert_eq!(counts(&[4, 4, 4], 8), [2, 1]);
    assert_eq!(counts(&[4, 4, 4], 7), [1, 1, 1]);
    assert_eq!(counts(&[1, 9, 1, 1], 4), [1, 1, 2]);
    assert_eq!(counts(&[9, 0], 4), [1, 1]);
    assert_eq!(counts(&[0, 0, 1], 0), [2, 1]);
    assert_eq!(counts(&[0, 0], 0), [2]);
    assert_eq!(counts(&[], 0), [0]);
}

#[test]
fn shards_have_numbered_names_and_an_index() {
    let layout = Layout::new(&[bytes::<4>("b"), bytes::<4>("a"), bytes::<1>("c")], &[], 5).unwrap();
    let names: Vec<_> = layout.files().iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    let (name, json) = layout.index().unwrap();
    assert_eq!(name, "model.safetensors.index.json");
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["metadata"]["total_size"], 9);
    assert_eq!(json["weight_map"]["b"], names[0]);
    assert_eq!(json["weight_map"]["a"], names[1]);
    assert_eq!(json["weight_map"]["c"], names[1]);
}

#[test]
fn refused() {
    let name = || "a".to_owned();
    let cases = [
        (vec![bytes::<1>("")], InvalidTensor::EmptyName.into()),
        (vec![bytes::<1>(METADATA)], InvalidTensor::ReservedName.into()),
        (vec![bytes::<1>("a"), bytes::<2>("a")], LayoutError::DuplicateName { name: name() }),
        (["0", "1", "2", "3", "4"].map(bytes::<{ usize::MAX / 8 }>).into(), LayoutError::Overflow),
    ];
    for (tensors, error) in cases {
        assert_eq!(Layout::new(&tensors, &[], 1), Err(error));
    }
}

#[test]
fn a_header_over_100_mb_is_refused() {
    // The longest that ends at a multiple of 64 has 99,999,992 bytes.
    let framed = |len| frame("x", vec![b' '; LENGTH + len], None).map(|header| header.len());
    assert_eq!(framed(99_999_992), Ok(100_000_000));
    let error = LayoutError::HeaderTooLarge { shard: "x".into(), len: 100_000_056 };
    assert_eq!(framed(99_999_993), Err(error));
}

#[test]
fn most_bytes_lie_within_their_blocks_as_where_they_come_from() {
    let tensors = [bytes::<8192>("a"), bytes::<100>("b"), bytes::<5000>("c"), bytes::<40>("d")];
    let starts = |origins: &[Option<u64>]| -> Vec<u64> {
        let layout = Layout::new(&tensors, origins, u64::MAX).unwrap();
        layout.placements().iter().map(|place| place.offset % BLOCK).collect()
    };
    // `c` alone would ask for 500, `a` for 1000, and has more bytes.
    assert_eq!(starts(&[Some(5096), None, Some(500 + 8292), None])[0], 1000);
    // Together `b` and `c` have more than 4 bytes of `a`'s block.
    assert_eq!(starts(&[None, Some(8192 + 24), Some(8292 + 24), None])[..2], [24, 24]);
    // Elements would not be aligned.
    assert_eq!(starts(&[Some(1001), None, None, None])[0] % ALIGNMENT as u64, 0);
    assert_eq!(starts(&[]), starts(&[None; 4]));
}

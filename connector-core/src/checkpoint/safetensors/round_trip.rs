//! What [`Layout`] and [`Writer`] make, [`Reader`] and the safetensors crate read alike.

use super::{Layout, OutputTensor, Reader, Writer};
use crate::store::{Dtype, Sink, Source};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;

fn tensor() -> impl Strategy<Value = (Dtype, Vec<usize>)> {
    let dtype = prop::sample::select(Dtype::all().collect::<Vec<_>>());
    // Elements smaller than a byte fill whole bytes by fours.
    let shape = |dtype: Dtype| {
        let last = if dtype.bytes().is_none() { Some(4) } else { None };
        prop::collection::vec(0..5usize, 0..4)
            .prop_map(move |shape| shape.into_iter().chain(last).collect())
    };
    dtype.prop_flat_map(move |dtype| (Just(dtype), shape(dtype)))
}

type Named = (String, (Dtype, Vec<usize>));

fn tensors() -> impl Strategy<Value = Vec<Named>> {
    // A map makes the names unique; what the tensors' order is must not matter.
    let named = prop::collection::btree_map("[a-z.0-9\"\\\\é日 ]{1,12}", tensor(), 0..12);
    named.prop_map(|map| map.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn output((name, (dtype, shape)): &Named) -> OutputTensor<'_> {
    OutputTensor { name, dtype: *dtype, shape }
}

/// Bytes that differ from tensor to tensor.
fn bytes(i: usize, len: u64) -> Vec<u8> {
    (0..len).map(|at| (at as usize * 7 + i * 31 + 1) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_tensors_read_back(tensors in tensors(), max in 0..400u64) {
        let dir = tempfile::tempdir().unwrap();
        let tensors: Vec<_> = tensors.iter().map(output).collect();
        let layout = Layout::new(&tensors, &[], max).unwrap();
        prop_assert_eq!(&layout, &Layout::new(&tensors, &[], max).unwrap());
        let placements = layout.placements().to_vec();
        let writer = Writer::create(&dir, layout).unwrap();
        let mut expected = BTreeMap::new();
        for (i, (tensor, place)) in tensors.iter().zip(&placements).enumerate() {
            prop_assert!(place.offset.is_multiple_of(tensor.dtype.bytes().unwrap_or(1)));
            let bytes = bytes(i, place.len);
            writer.write_at(place.file, place.offset, &bytes).unwrap();
            expected.insert(tensor.name.to_string(), (tensor.dtype, tensor.shape.to_vec(), bytes));
        }
        writer.finish().unwrap();

        let reader = Reader::open(&dir).unwrap();
        prop_assert!(reader.problems().is_empty(), "{:?}", reader.problems());
        let mut ours = BTreeMap::new();
        for tensor in reader.tensors() {
            let mut bytes = vec![0; tensor.bytes() as usize];
            let (file, offset) = tensor.pieces.first().unwrap();
            reader.read_at(file, offset, &mut bytes).unwrap();
            ours.insert(tensor.name.clone(), (tensor.dtype, tensor.shape.clone(), bytes));
        }
        prop_assert_eq!(&ours, &expected);

        let mut theirs = BTreeMap::new();
        for id in 0..reader.file_count() {
            let file = fs::read(reader.path(id)).unwrap();
            for (name, view) in safetensors::SafeTensors::deserialize(&file).unwrap().iter() {
                let dtype = view.dtype().to_string().parse().unwrap();
                theirs.insert(name.to_owned(), (dtype, view.shape().to_vec(), view.data().to_vec()));
            }
        }
        prop_assert_eq!(&theirs, &expected);
    }
}

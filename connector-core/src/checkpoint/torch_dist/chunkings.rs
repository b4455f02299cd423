//! Checkpoints cut as training on several ranks cuts them, read and stored anew whole.

use super::metadata::{self, Chunk, Place, Stored};
use super::{METADATA, Reader, record};
use crate::checkpoint::Result;
use crate::checkpoint::torch::types;
use crate::checkpoint::torch::zip::frame;
use crate::connector::{ConvertOptions, TorchDist, convert_ckpt};
use crate::store::{Dtype, Source, TensorInfo};
use std::fs;
use std::path::Path;

/// A tensor that is cut into a grid of boxes of the size `cut`, in so many files.
struct Cut {
    key: &'static str,
    shape: &'static [usize],
    cut: &'static [usize],
    files: usize,
}

/// The bytes of an element: its number in the tensor, which begins with its key's length.
fn element(key: &str, number: usize) -> [u8; 2] {
    ((key.len() * 257 + number) as u16).to_le_bytes()
}

/// The indices of a box, in row-major order.
fn indices(size: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let size = size.to_vec();
    (0..size.iter().product()).map(move |mut number: usize| {
        let mut index = vec![0; size.len()];
        for (place, &len) in index.iter_mut().zip(&size).rev() {
            *place = number % len;
            number /= len;
        }
        index
    })
}

impl Cut {
    fn boxes(&self) -> Vec<(Vec<usize>, Vec<usize>)> {
        let counts: Vec<_> = self.shape.iter().zip(self.cut).map(|(n, c)| n.div_ceil(*c)).collect();
        let place = |index: Vec<usize>| {
            let start: Vec<_> = index.iter().zip(self.cut).map(|(i, cut)| i * cut).collect();
            let ends = start.iter().zip(self.shape).zip(self.cut);
            let size = ends.map(|((start, len), cut)| *cut.min(&(len - start))).collect();
            (start, size)
        };
        indices(&counts).map(place).collect()
    }

    fn bytes(&self, start: &[usize], size: &[usize]) -> Vec<u8> {
        let number = |index: Vec<usize>| {
            let place = index.iter().zip(start).zip(self.shape);
            place.fold(0, |number, ((i, start), len)| number * len + start + i)
        };
        indices(size).flat_map(|index| element(self.key, number(index))).collect()
    }
}

/// Writes a checkpoint; what `state` has are entries of the optimizer, whose file is not there.
fn write(dir: &Path, tensors: &[Cut], state: &[&str]) {
    fs::create_dir_all(dir).unwrap();
    let mut files: Vec<Vec<u8>> = Vec::new();
    let mut stored = Vec::new();
    for cut in tensors {
        let mut chunks = Vec::new();
        // The last ranks first: no order is promised.
        for (number, (start, size)) in cut.boxes().into_iter().enumerate().rev() {
            let bytes = cut.bytes(&start, &size);
            let frame = frame(&record::pickle(Dtype::Bf16, &size).unwrap(), bytes.len() as u32);
            let file = number % cut.files;
            files.resize(files.len().max(file + 1), Vec::new());
            let (offset, all) = (files[file].len() as u64, [&frame.head[..], &bytes, &frame.tail]);
            files[file].extend(all.concat());
            let length = files[file].len() as u64 - offset;
            let place = Place { file: format!("__{file}_0.distcp"), offset, length };
            chunks.push(Chunk { start, size, record: Some(place) });
        }
        let (key, dtype) = (cut.key.into(), types::names(Dtype::Bf16).unwrap().0.into());
        stored.push(Stored { key, dtype, shape: cut.shape.to_vec(), chunks });
    }
    let absent = || Place { file: "__9_9.distcp".into(), offset: 0, length: 1 };
    for key in state {
        let chunks = vec![Chunk { start: vec![0], size: vec![1], record: Some(absent()) }];
        stored.push(Stored {
            key: key.to_string(),
            dtype: "float32".into(),
            shape: vec![1],
            chunks,
        });
    }
    let objects = ["rng_state/shard_0.0_1.1", "decoder.layers.x._extra_state/shard_0_1"];
    let objects: Vec<_> = objects.iter().map(|key| (key.to_string(), absent())).collect();
    fs::write(dir.join(METADATA), metadata::write(&stored, &objects)).unwrap();
    for (number, bytes) in files.iter().enumerate() {
        fs::write(dir.join(format!("__{number}_0.distcp")), bytes).unwrap();
    }
}

/// The bytes of every tensor by its name.
fn read(source: &dyn Source) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = |tensor: &TensorInfo| -> Vec<u8> {
        let runs = tensor.runs(0, tensor.elements()).into_iter();
        runs.flat_map(|run| {
            let mut bytes = vec![0; run.len as usize * 2];
            source.read_at(run.file, run.offset, &mut bytes).unwrap();
            bytes
        })
        .collect()
    };
    let all = source.tensors().iter();
    all.map(|tensor| (tensor.name.clone(), tensor.shape.clone(), bytes(tensor))).collect()
}

/// The parameters of the stacked tensor of a [`Cut`], from `name` with `*` for the number.
fn want(cut: &Cut, name: &str, stacked: bool) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let whole = cut.bytes(&vec![0; cut.shape.len()], cut.shape);
    let count = if stacked { cut.shape[0] } else { 1 };
    let shape = cut.shape[usize::from(stacked)..].to_vec();
    let each = whole.len() / count;
    let layer = |n: usize| {
        (name.replace('*', &n.to_string()), shape.clone(), whole[n * each..(n + 1) * each].to_vec())
    };
    (0..count).map(layer).collect()
}

const FC2: &str = "module.decoder.layers.mlp.linear_fc2.weight";
const EMBEDDING: &str = "module.embedding.word_embeddings.weight";

/// How ranks cut a stack of 3 layers of 6 x 8.
const CUTS: [(&str, &[usize]); 8] = [
    ("whole layers", &[1, 6, 8]),
    ("one piece for all layers", &[3, 6, 8]),
    ("rows: column-parallel on 3 ranks", &[1, 2, 8]),
    ("columns: row-parallel on 4 ranks", &[1, 6, 2]),
    ("columns of several layers in one piece", &[2, 6, 2]),
    ("rows and columns", &[1, 4, 3]),
    ("a few rows at a time", &[3, 1, 8]),
    ("single elements", &[1, 1, 1]),
];

#[test]
fn every_chunking_reads_and_converts_to_the_same_bytes() {
    for (what, cut) in CUTS {
        for files in [1, 3] {
            let dir = tempfile::tempdir().unwrap();
            let weights = dir.path().join("in/weights");
            let fc2 = Cut { key: FC2, shape: &[3, 6, 8], cut, files };
            let embedding = Cut { key: EMBEDDING, shape: &[10, 4], cut: &[4, 3], files };
            let mut all = want(&fc2, "decoder.layers.*.mlp.linear_fc2.weight", true);
            all.extend(want(&embedding, "embedding.word_embeddings.weight", false));
            let state = ["optimizer.state.exp_avg.module.decoder.layers.x", "chained_0.step"];
            write(&weights, &[fc2, embedding], &state);
            let reader = Reader::open(&weights).unwrap();
            assert!(reader.problems().is_empty(), "{what}: {:?}", reader.problems());
            assert_eq!(reader.others(), 4);
            assert!(read(&reader) == all, "{what}");

            let context = dir.path().join("in/context");
            fs::create_dir(&context).unwrap();
            fs::write(context.join("model.yaml"), "_target_: x.Unknown\nconfig: {}\n").unwrap();
            for (name, torch_dist) in [("plain", None), ("dist", Some(TorchDist::default()))] {
                let out = dir.path().join(name);
                let options = ConvertOptions { torch_dist, ..ConvertOptions::default() };
                convert_ckpt(dir.path().join("in"), &out, options).unwrap();
                let tensors = crate::checkpoint::Tensors::open(out.join("weights")).unwrap();
                let mut got = read(&tensors);
                got.sort();
                assert!(got == all, "{what}: {name}");
            }
        }
    }
}

#[test]
fn the_metadata_of_megatron_core_0_15_and_a_prefix_or_none_make_no_difference() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    for key in ["decoder.final_layernorm.weight", "module.module.decoder.final_layernorm.weight"] {
        let norm = Cut { key, shape: &[4], cut: &[2], files: 1 };
        let all = want(&norm, "decoder.final_layernorm.weight", false);
        write(dir.path(), &[norm], &[]);
        let path = dir.path().join(METADATA);
        let bytes = fs::read(&path).unwrap();
        let (old, new) = (
            b"ctorch.distributed.checkpoint.metadata\nMetadata\n",
            b"cmegatron.core.dist_checkpointing.strategies.torch\nMCoreMetadata\n",
        );
        let at = bytes.windows(old.len()).position(|w| w == old).unwrap();
        let changed = [&bytes[..at], new, &bytes[at + old.len()..]].concat();
        fs::write(&path, changed).unwrap();
        let reader = Reader::open(dir.path())?;
        assert!(read(&reader) == all, "{key}");
    }
    Ok(())
}

use super::cast::cast;
use crate::engine::Result;
use crate::plan::{Plan, Work};
use crate::store::{self, Dtype, FileId, Sink, Source, TensorInfo, read_elements};
use crate::transform::gaps;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// How many bytes are compared at once: small beside an engine's buffers.
const PIECE: usize = 256 << 10;

/// A [`Sink`] that holds what is written against a checkpoint that is there.
///
/// Each output is a file of its own, by its number in [`Plan::outputs`], that begins with its first
/// element: the place of output `n` is byte 0 of file `n`.
pub(crate) struct Against<'a> {
    checkpoint: &'a dyn Source,
    outputs: Vec<Pair>,
    found: Mutex<BTreeMap<usize, Mismatch>>,
}

/// An output and the tensor that it is held against.
struct Pair {
    dtype: Dtype,
    /// By its number in the checkpoint; `None` if there is nothing to compare with.
    tensor: Option<usize>,
}

/// Where an output is not what the checkpoint has.
#[derive(Clone, Debug)]
pub(crate) struct Mismatch {
    /// The first element that differs, in row-major order.
    pub element: u64,
    /// How many differ.
    pub count: u64,
    /// The bytes of the first one as they were made.
    pub made: Vec<u8>,
    /// As the checkpoint has them, in the type of the output.
    pub there: Vec<u8>,
}

impl<'a> Against<'a> {
    /// Compares the outputs of `plan` with `tensors`, by their numbers in `checkpoint`. Where the
    /// types differ, the checkpoint's elements are cast to the output's.
    pub fn new(plan: &Plan, checkpoint: &'a dyn Source, tensors: &[Option<usize>]) -> Self {
        let pair = |(output, tensor): (&crate::plan::Output, &Option<usize>)| Pair {
            dtype: output.dtype,
            tensor: *tensor,
        };
        let outputs = plan.outputs.iter().zip(tensors).map(pair).collect();
        Against { checkpoint, outputs, found: Mutex::default() }
    }

    /// Compares with zeros what no move of the plan reaches: the padding.
    pub fn check_padding(&self, plan: &Plan) -> Result<Vec<usize>> {
        let mut padded = Vec::new();
        for output in 0..plan.outputs.len() {
            if self.outputs[output].tensor.is_none() {
                continue;
            }
            let gaps = padding(plan, output);
            let dtype = plan.outputs[output].dtype;
            for (from, len) in &gaps {
                let (start, len) = (from * dtype.bits() / 8, len * dtype.bits() / 8);
                for at in (0..len).step_by(PIECE) {
                    let zeros = vec![0; (len - at).min(PIECE as u64) as usize];
                    self.write_at(output, start + at, &zeros)?;
                }
            }
            padded.extend((!gaps.is_empty()).then_some(output));
        }
        Ok(padded)
    }

    /// What differs, by the number of the output.
    pub fn mismatches(self) -> BTreeMap<usize, Mismatch> {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// `start` is the first of the bytes within the output.
    fn compare(&self, output: usize, start: u64, made: &[u8], there: &[u8]) {
        if made == there {
            return;
        }
        let bits = self.outputs[output].dtype.bits();
        // Elements that share bytes are told by the first of a byte.
        let size = (bits / 8).max(1) as usize;
        let pairs = made.chunks(size).zip(there.chunks(size)).enumerate();
        let mut differ = pairs.filter(|(_, (made, there))| made != there);
        let Some((number, (made, there))) = differ.next() else { return };
        let element = (start + (number * size) as u64) * 8 / bits;
        let count = 1 + differ.count() as u64;
        let mismatch = Mismatch { element, count, made: made.into(), there: there.into() };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match found.get_mut(&output) {
            None => drop(found.insert(output, mismatch)),
            Some(known) => {
                let count = known.count + mismatch.count;
                if mismatch.element < known.element {
                    *known = mismatch;
                }
                known.count = count;
            }
        }
    }

    /// Reads the tensor's part that lies where `made`, of `dtype`, lies in the output.
    fn read(
        &self,
        tensor: &TensorInfo,
        dtype: Dtype,
        start: u64,
        made: usize,
        bytes: &mut Vec<u8>,
    ) -> store::Result<()> {
        if dtype.bytes().is_none() {
            // A buffer may end inside an element; such a tensor lies in one run.
            bytes.resize(made, 0);
            let runs = tensor.runs(0, tensor.elements());
            let run = runs.first().map_or((0, 0), |run| (run.file, run.offset));
            return self.checkpoint.read_at(run.0, run.1 + start, bytes);
        }
        let [first, elements] = [start, made as u64].map(|bytes| bytes * 8 / dtype.bits());
        bytes.resize((elements * tensor.dtype.bits() / 8) as usize, 0);
        read_elements(self.checkpoint, tensor, first, elements, bytes)
    }
}

impl Sink for Against<'_> {
    // No output has a file here, so nobody writes past it.
    fn path(&self, _: FileId) -> PathBuf {
        PathBuf::new()
    }

    fn admit(&self, _: FileId, _: u64, _: &[u8]) -> store::Result<()> {
        Ok(())
    }

    fn write_at(&self, output: FileId, offset: u64, bytes: &[u8]) -> store::Result<()> {
        let Pair { dtype, tensor } = self.outputs[output];
        let Some(tensor) = tensor.map(|tensor| &self.checkpoint.tensors()[tensor]) else {
            return Ok(());
        };
        let (mut read, mut converted) = (Vec::new(), Vec::new());
        for (number, made) in bytes.chunks(PIECE).enumerate() {
            let start = offset + (number * PIECE) as u64;
            self.read(tensor, dtype, start, made.len(), &mut read)?;
            if tensor.dtype == dtype {
                self.compare(output, start, made, &read);
            } else {
                converted.resize(made.len(), 0);
                cast(&read, tensor.dtype, &mut converted, dtype);
                self.compare(output, start, made, &converted);
            }
        }
        Ok(())
    }

    fn sync(&self, _: FileId) -> store::Result<()> {
        Ok(())
    }

    fn local_file(&self, _: FileId) -> Option<&File> {
        None
    }
}

/// The runs of elements of an output that no move reaches: first element and length.
fn padding(plan: &Plan, output: usize) -> Vec<(u64, u64)> {
    let Some(elements) = plan.outputs[output].elements() else { return Vec::new() };
    let step = &plan.steps[plan.outputs[output].step];
    let (Work::Moves(moves), Some(target)) =
        (&step.work, step.outputs.iter().position(|number| *number == output))
    else {
        return Vec::new();
    };
    let moves = || moves.iter().filter(|m| m.target == target);
    if moves().map(|m| m.elements()).sum::<u64>() >= elements {
        return Vec::new();
    }
    gaps(moves().flat_map(|m| m.runs()).map(|(_, to, len)| (to, len)).collect(), elements)
}

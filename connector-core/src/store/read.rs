//! A tensor's bytes, from the pieces that it lies in.

use super::{Result, Rows, Source, TensorInfo};

/// How much of a box that is narrower than its tensor is read at once: little beside a buffer.
const BLOCK: usize = 64 << 10;

/// A tensor's bytes, in row-major order.
///
/// # Errors
/// [`Error::Io`](super::Error::Io).
pub(crate) fn read_tensor(source: &dyn Source, tensor: &TensorInfo) -> Result<Vec<u8>> {
    let mut bytes = vec![0; tensor.bytes() as usize];
    read_elements(source, tensor, 0, tensor.elements(), &mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` with `len` elements of a tensor, from its pieces.
pub(crate) fn read_elements(
    source: &dyn Source,
    tensor: &TensorInfo,
    from: u64,
    len: u64,
    bytes: &mut [u8],
) -> Result<()> {
    if tensor.dtype.bytes().is_none() {
        // Its elements share bytes, so that it cannot be cut into boxes.
        let run = tensor.runs(from, len).first().copied();
        return run.map_or(Ok(()), |run| source.read_at(run.file, run.offset, bytes));
    }
    let size = |elements: u64| (elements * tensor.dtype.bits() / 8) as usize;
    let mut block = Vec::new();
    for Rows { file, offset, at, len, count, step } in tensor.rows(from, len) {
        let (row, step, first) = (size(len), size(step), size(at - from));
        if count == 1 {
            source.read_at(file, offset, &mut bytes[first..first + row])?;
            continue;
        }
        // Rows are far shorter than what is worth a request.
        let most = (BLOCK / row.max(1)).max(1) as u64;
        for done in (0..count).step_by(most as usize) {
            let rows = most.min(count - done);
            block.resize(rows as usize * row, 0);
            source.read_at(file, offset + done * row as u64, &mut block)?;
            for (number, piece) in block.chunks_exact(row).enumerate() {
                let place = first + (done as usize + number) * step;
                bytes[place..place + row].copy_from_slice(piece);
            }
        }
    }
    Ok(())
}

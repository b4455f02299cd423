use crate::base::{Advice, Cancel};
use crate::engine::Result;
use crate::plan::{EqualCheck, Finding, FindingKind};
use crate::store::{Source, read_elements};

/// Compares two tensors that must hold the same bytes.
pub(super) fn compare(
    equal: &EqualCheck,
    source: &dyn Source,
    buffer: usize,
    cancel: &Cancel,
) -> Result<Option<Finding>> {
    let [left, right] = [equal.left, equal.right].map(|tensor| &source.tensors()[tensor]);
    // Of torch, tied weights are one storage.
    if (&left.pieces, left.dtype) == (&right.pieces, right.dtype) {
        return Ok(None);
    }
    let bits = left.dtype.bits();
    let step = (buffer as u64 * 8 / bits).min(left.elements());
    let mut buffers = [vec![0; buffer], vec![0; buffer]];
    let mut from = 0;
    while from < left.elements() {
        cancel.check()?;
        let len = step.min(left.elements() - from);
        let size = (len * bits / 8) as usize;
        for (tensor, bytes) in [left, right].into_iter().zip(&mut buffers) {
            read_elements(source, tensor, from, len, &mut bytes[..size])?;
        }
        let [a, b] = &buffers;
        if let Some(byte) = a[..size].iter().zip(&b[..size]).position(|(a, b)| a != b) {
            let element = from + byte as u64 * 8 / bits;
            let problem = format!("it must hold the same bytes as {}", right.name);
            let finding = Finding::new(FindingKind::Unequal, &left.name, problem)
                .note(format!("they differ from element {element} on"))
                .advise(Advice::Ignore)
                .rule(equal.at);
            return Ok(Some(finding));
        }
        from += len;
    }
    Ok(None)
}

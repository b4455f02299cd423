use crate::plan::Step;
use crate::transform::{Move, Tensor};
use crate::{Error, Result};
use candle_core::{DType, Device};

/// Tensors whose elements are their own identity: no number occurs twice, and none is zero.
pub(super) struct Elements {
    tensors: Vec<Named>,
    next: u64,
}

/// A tensor and the numbers that it was filled with.
struct Named {
    name: String,
    shape: Vec<usize>,
    first: u64,
    len: u64,
}

impl Elements {
    pub fn new() -> Self {
        Elements { tensors: Vec::new(), next: 1 }
    }

    /// How many numbers have been given out.
    pub fn count(&self) -> u64 {
        self.next - 1
    }

    /// A tensor filled with the next numbers.
    pub fn fill(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let len = shape.iter().product::<usize>() as u64;
        let tensor = Tensor::arange(self.next as i64, (self.next + len) as i64, device)
            .and_then(|all| all.reshape(shape)?.to_dtype(dtype))
            .map_err(Error::candle)?;
        let (name, shape) = (name.to_string(), shape.to_vec());
        self.tensors.push(Named { name, shape, first: self.next, len });
        self.next += len;
        Ok(tensor)
    }

    /// The element that has a number, as `key[row, column]`.
    pub fn name(&self, number: u64) -> String {
        let after = self.tensors.partition_point(|tensor| tensor.first <= number);
        match self.tensors.get(after.wrapping_sub(1)) {
            Some(Named { name, shape, first, len }) if number < first + len => {
                format!("{name}{}", index(shape, number - first))
            }
            _ => format!("{number}, which no tensor holds"),
        }
    }
}

/// The index of an element in row-major order, `[3, 0]`.
pub(super) fn index(shape: &[usize], mut element: u64) -> String {
    let mut at: Vec<u64> = Vec::new();
    for &n in shape.iter().rev() {
        at.push(element % (n.max(1)) as u64);
        element /= n.max(1) as u64;
    }
    at.reverse();
    format!("{at:?}")
}

/// The numbers in a tensor, in row-major order. `None` if one is no whole number.
pub(super) fn numbers(tensor: &Tensor) -> Result<Option<Vec<u64>>> {
    let flat = tensor.flatten_all().map_err(Error::candle)?;
    if flat.dtype() == DType::I64 {
        let values = flat.to_vec1::<i64>().map_err(Error::candle)?;
        return Ok(values.into_iter().map(|value| value.try_into().ok()).collect());
    }
    let values = flat.to_dtype(DType::F64).and_then(|flat| flat.to_vec1::<f64>());
    let values = values.map_err(Error::candle)?;
    let whole = |value: f64| (value >= 0.0 && value.fract() == 0.0).then_some(value as u64);
    Ok(values.into_iter().map(whole).collect())
}

/// What the outputs of a step hold after its moves: zero where none lands.
pub(super) fn moved(
    step: &Step,
    moves: &[Move],
    sources: &[Vec<u64>],
    sizes: &[u64],
) -> Vec<Vec<u64>> {
    let mut outputs: Vec<Vec<u64>> = sizes.iter().map(|&n| vec![0; n as usize]).collect();
    for (from, to, len, m) in moves.iter().flat_map(|m| m.runs().map(move |(f, t, n)| (f, t, n, m)))
    {
        debug_assert!(m.source < step.inputs.len());
        let (from, to, len) = (from as usize, to as usize, len as usize);
        outputs[m.target][to..to + len].copy_from_slice(&sources[m.source][from..from + len]);
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_know_where_they_are_from() -> Result<()> {
        let mut elements = Elements::new();
        let device = &Device::Cpu;
        let a = elements.fill("a", &[2, 3], DType::I64, device)?;
        let b = elements.fill("b", &[2], DType::F64, device)?;
        assert_eq!(numbers(&a)?, Some(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(numbers(&b)?, Some(vec![7, 8]));
        assert_eq!(numbers(&(b / 2.0).map_err(Error::candle)?)?, None);
        for (number, name) in [(1, "a[0, 0]"), (6, "a[1, 2]"), (7, "b[0]"), (8, "b[1]")] {
            assert_eq!(elements.name(number), name);
        }
        assert!(elements.name(0).contains("no tensor"));
        assert!(elements.name(9).contains("no tensor"));
        Ok(())
    }
}

use super::cast::cast;
use super::whole::staged;
use crate::base::Cancel;
use crate::engine::Result;
use crate::plan::{Dropped, Finding, FindingKind, Plan, Work};
use crate::store::{Dtype, Source, TensorInfo, read_elements};
use serde::Serialize;

/// Reads elements of a source tensor, by its number: so many from one on.
pub(crate) type ReadElements<'a> = dyn Fn(usize, u64, u64, &mut [u8]) -> Result<()> + 'a;

/// Reads them from files.
pub(crate) fn read_from(source: &dyn Source) -> impl Fn(usize, u64, u64, &mut [u8]) -> Result<()> {
    |tensor, from, len, bytes| {
        Ok(read_elements(source, &source.tensors()[tensor], from, len, bytes)?)
    }
}

/// How many bytes are looked at at once.
const PIECE: u64 = 256 << 10;

/// What is not zero of elements that go nowhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NotZero {
    /// How many elements go nowhere.
    pub dropped: u64,
    /// How many of them are not zero.
    pub not_zero: u64,
    /// The largest absolute value; `None` of a type that is no floating-point number.
    pub largest: Option<f64>,
}

/// Looks at what a plan drops, and at no more: by their numbers in [`Plan::dropped`], those that
/// are not all zero.
pub(crate) fn not_zero(
    plan: &Plan,
    tensors: &[TensorInfo],
    read: &ReadElements<'_>,
    cancel: &Cancel,
) -> Result<Vec<(usize, NotZero)>> {
    let mut found = Vec::new();
    for (number, dropped) in plan.dropped.iter().enumerate() {
        let mut sum = NotZero::default();
        match &dropped.between {
            None => of_source(dropped, tensors, read, cancel, &mut sum)?,
            Some(_) => of_stage(plan, dropped, tensors, read, cancel, &mut sum)?,
        }
        if sum.not_zero > 0 {
            found.push((number, sum));
        }
    }
    Ok(found)
}

fn of_source(
    dropped: &Dropped,
    tensors: &[TensorInfo],
    read: &ReadElements<'_>,
    cancel: &Cancel,
    sum: &mut NotZero,
) -> Result<()> {
    let dtype = tensors[dropped.tensor].dtype;
    let most = PIECE * 8 / dtype.bits();
    let mut bytes = Vec::new();
    for &(from, len) in &dropped.runs {
        for at in (0..len).step_by(most as usize) {
            cancel.check()?;
            let elements = most.min(len - at);
            bytes.resize((elements * dtype.bits() / 8) as usize, 0);
            read(dropped.tensor, from + at, elements, &mut bytes)?;
            sum.add(dtype, elements, &bytes);
        }
    }
    Ok(())
}

/// What the operations before it make is made once more: that several are not joined to one list of
/// moves, and one of them drops something, is rare.
fn of_stage(
    plan: &Plan,
    dropped: &Dropped,
    tensors: &[TensorInfo],
    read: &ReadElements<'_>,
    cancel: &Cancel,
    sum: &mut NotZero,
) -> Result<()> {
    let Some(between) = &dropped.between else { return Ok(()) };
    let step = &plan.steps[between.step];
    let Work::Compute { stages, calls } = &step.work else { return Ok(()) };
    let before = &stages[..between.stage];
    let dtype = before[between.stage - 1].results[between.source].0;
    let size = |elements: u64| (elements * dtype.bits() / 8) as usize;
    for inputs in step.inputs.chunks(step.inputs.len() / (*calls).max(1)) {
        let made = staged(tensors, inputs, before, read, cancel)?;
        for &(from, len) in &dropped.runs {
            let bytes = &made[between.source][size(from)..size(from + len)];
            sum.add(dtype, len, bytes);
        }
    }
    Ok(())
}

impl NotZero {
    fn add(&mut self, dtype: Dtype, elements: u64, bytes: &[u8]) {
        self.dropped += elements;
        if bytes.iter().all(|byte| *byte == 0) {
            return;
        }
        if !dtype.is_castable() {
            let size = (dtype.bits() / 8).max(1) as usize;
            let differ = |element: &&[u8]| element.iter().any(|byte| *byte != 0);
            self.not_zero += bytes.chunks(size).filter(differ).count() as u64;
            return;
        }
        let mut wide = vec![0; elements as usize * 8];
        cast(bytes, dtype, &mut wide, Dtype::F64);
        for value in wide.chunks_exact(8).filter_map(|value| value.try_into().ok()) {
            // NaN is not zero; -0 is.
            let value = f64::from_le_bytes(value).abs();
            if value != 0.0 {
                self.not_zero += 1;
                self.largest = Some(self.largest.map_or(value, |largest| largest.max(value)));
            }
        }
    }
}

/// That numbers would be lost.
pub(crate) fn lost(
    plan: &Plan,
    tensors: &[TensorInfo],
    number: usize,
    NotZero { dropped: all, not_zero, largest }: &NotZero,
) -> Finding {
    let dropped = &plan.dropped[number];
    let rule = &plan.mapping.rules[dropped.rule];
    let largest = largest.map_or(String::new(), |value| format!("; the largest is {value}"));
    let of = match &dropped.between {
        None => String::new(),
        Some(between) => {
            format!(" of what {} makes of it", rule.operations[between.stage - 1].name)
        }
    };
    let are = if *not_zero == 1 { "is" } else { "are" };
    let name = &tensors[dropped.tensor].name;
    let problem = format!("{}{of} would be lost", dropped.text());
    Finding { keys: vec![name.clone()], ..Finding::new(FindingKind::Lost, name, problem) }
        .note(format!("it is {:?}, and {} leaves them out", dropped.shape, rule.name()))
        .note(format!("{not_zero} of these {all} elements {are} not zero{largest}"))
        .rule(rule.rule.at)
}

//! Runs a plan on one checkpoint and holds what comes out against another.

use super::value::show;
use super::{CastCount, Difference, Element, VerifyOptions};
use crate::connector::checked;
use crate::engine::{self, Against, Context, EngineOptions, Job, Mismatch, Prepared, Progress};
use crate::plan::{Plan, Step, Work};
use crate::store::{Dtype, Part, Source};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// Two checkpoints to compare.
pub(super) struct Comparison<'a> {
    /// The one that the plan runs on.
    pub made: &'a dyn Source,
    /// The one that has what should come out.
    pub other: &'a dyn Source,
    pub context: Context<'a>,
    /// Whether the plan runs on the checkpoint, and the other one is the source.
    pub swapped: bool,
    /// Whether types that differ are cast, the source's to the checkpoint's.
    pub casts: bool,
    /// Whether padding must be zeros.
    pub padding: bool,
    pub options: &'a VerifyOptions,
}

/// What came of it.
pub(super) struct Compared {
    pub equal: usize,
    pub bytes: u64,
    pub casts: Vec<CastCount>,
    /// Outputs with padding.
    pub padded: Vec<String>,
    /// How many elements of the padding are not zero, where they need not be.
    pub dropped: BTreeMap<String, u64>,
    /// Outputs that the other one does not have.
    pub missing: Vec<String>,
    /// What the other one has beside them.
    pub extra: Vec<String>,
    pub differences: Vec<Difference>,
}

impl Comparison<'_> {
    pub fn run(&self, mut plan: Plan, progress: &dyn Progress) -> Result<Compared> {
        let mut differences = Vec::new();
        let mut casts = BTreeMap::new();
        let pairs = self.pair(&mut plan, &mut differences, &mut casts);
        let missing = |(output, pair): (usize, &Pair)| {
            matches!(pair, Pair::Missing).then(|| plan.outputs[output].name.clone())
        };
        let missing: Vec<String> = pairs.iter().enumerate().filter_map(missing).collect();
        let tensors: Vec<Option<usize>> = pairs.iter().map(Pair::tensor).collect();

        let places: Vec<_> = (0..plan.outputs.len()).map(|output| Part::whole(output, 0)).collect();
        // Nothing is written that could be synced.
        let engine = EngineOptions { sync: false, ..self.options.engine.clone() };
        let prepared = Prepared::new(&plan, self.made, &engine).map_err(Error::refused)?;
        let how = (engine.threads, &self.options.cancel);
        let compare = |made: &dyn Source, other: &dyn Source| {
            let against = Against::new(&plan, other, &tensors);
            engine::run(&Job {
                plan: &plan,
                prepared: &prepared,
                source: made,
                sink: &against,
                places: &places,
                context: self.context,
                progress,
                cancel: &self.options.cancel,
            })?;
            if self.padding {
                return Ok((against.check_padding(&plan)?, against.mismatches(), BTreeMap::new()));
            }
            let padding = Against::new(&plan, other, &tensors);
            padding.check_padding(&plan)?;
            Ok((Vec::new(), against.mismatches(), padding.mismatches()))
        };
        let (padded, mismatches, dropped) =
            checked(self.made, how, |made| checked(self.other, how, |other| compare(made, other)))?;
        self.made.check_unchanged()?;
        self.other.check_unchanged()?;

        differences.extend(mismatches.iter().map(|(output, m)| self.values(&plan, *output, m)));
        let equal = |output: &usize| tensors[*output].is_some() && !mismatches.contains_key(output);
        let equal: Vec<usize> = (0..tensors.len()).filter(equal).collect();
        let checkpoint_bytes = |output: &usize| match tensors[*output] {
            Some(tensor) if !self.swapped => self.other.tensors()[tensor].bytes(),
            _ => plan.outputs[*output].bytes().unwrap_or(0),
        };
        Ok(Compared {
            equal: equal.len(),
            bytes: equal.iter().map(checkpoint_bytes).sum(),
            casts: casts
                .into_iter()
                .map(|((from, to), tensors)| CastCount { from, to, tensors })
                .collect(),
            padded: padded.into_iter().map(|output| plan.outputs[output].name.clone()).collect(),
            dropped: dropped
                .into_iter()
                .map(|(output, mismatch)| (plan.outputs[output].name.clone(), mismatch.count))
                .collect(),
            missing,
            extra: self.extra(&plan),
            differences,
        })
    }

    /// The tensor that each output is held against, its type fitted to it.
    fn pair(
        &self,
        plan: &mut Plan,
        differences: &mut Vec<Difference>,
        casts: &mut BTreeMap<(String, String), usize>,
    ) -> Vec<Pair> {
        let by_name: HashMap<&str, usize> =
            self.other.tensors().iter().enumerate().map(|(n, t)| (t.name.as_str(), n)).collect();
        let mut pairs = Vec::with_capacity(plan.outputs.len());
        for output in &mut plan.outputs {
            let Some(&number) = by_name.get(output.name.as_str()) else {
                pairs.push(Pair::Missing);
                continue;
            };
            let tensor = &self.other.tensors()[number];
            let key = output.name.clone();
            let made = output.shape.clone().unwrap_or_default();
            if made != tensor.shape {
                let (source, checkpoint) = self.sides(made, tensor.shape.clone());
                differences.push(Difference::Shape { key, source, checkpoint });
                pairs.push(Pair::Unlike);
                continue;
            }
            if output.dtype != tensor.dtype {
                let castable = output.dtype.is_castable() && tensor.dtype.is_castable();
                let name = |dtype: Dtype| dtype.name().to_ascii_lowercase();
                let (from, to) = self.sides(name(output.dtype), name(tensor.dtype));
                if !(castable && self.casts) {
                    differences.push(Difference::Dtype { key, source: from, checkpoint: to });
                    pairs.push(Pair::Unlike);
                    continue;
                }
                *casts.entry((from, to)).or_default() += 1;
                if !self.swapped {
                    output.dtype = tensor.dtype;
                }
            }
            pairs.push(Pair::Tensor(number));
        }
        // What is compared with nothing need not be read.
        for step in &mut plan.steps {
            if step.outputs.iter().all(|output| pairs[*output].tensor().is_none()) {
                step.work = Work::Moves(Vec::new());
            }
        }
        pairs
    }

    /// What was made and what the other one has, as the source's and the checkpoint's.
    fn sides<T>(&self, made: T, other: T) -> (T, T) {
        if self.swapped { (other, made) } else { (made, other) }
    }

    fn extra(&self, plan: &Plan) -> Vec<String> {
        let made: HashMap<&str, ()> =
            plan.outputs.iter().map(|output| (output.name.as_str(), ())).collect();
        let names = self.other.tensors().iter().map(|tensor| &tensor.name);
        names.filter(|name| !made.contains_key(name.as_str())).cloned().collect()
    }

    fn values(&self, plan: &Plan, number: usize, mismatch: &Mismatch) -> Difference {
        let output = &plan.outputs[number];
        let (made, there) = show(output.dtype, &mismatch.made, &mismatch.there);
        let (source, checkpoint) = self.sides(made, there);
        Difference::Values {
            key: output.name.clone(),
            index: index(mismatch.element, output.shape.as_deref().unwrap_or_default()),
            source,
            checkpoint,
            differ: mismatch.count,
            elements: output.elements().unwrap_or(0),
            origin: self
                .origin(&plan.steps[output.step], number, mismatch.element)
                .filter(|origin| origin.key != output.name),
        }
    }

    /// Where an element of an output was moved from.
    fn origin(&self, step: &Step, output: usize, element: u64) -> Option<Element> {
        let Work::Moves(moves) = &step.work else { return None };
        let target = step.outputs.iter().position(|number| *number == output)?;
        let of_target = moves.iter().filter(|m| m.target == target);
        let (source, from) = of_target.into_iter().find_map(|m| {
            let mut runs = m.runs();
            let run = runs.find(|(_, to, len)| (*to..to + len).contains(&element))?;
            Some((m.source, run.0 + (element - run.1)))
        })?;
        let input = step.inputs[source];
        let tensor = &self.made.tensors()[input.tensor];
        let slice = tensor.elements() / tensor.shape.first().map_or(1, |&n| n.max(1) as u64);
        let first = input.index.map_or(0, |index| index as u64 * slice);
        Some(Element { key: tensor.name.clone(), index: index(first + from, &tensor.shape) })
    }
}

/// What an output is held against.
enum Pair {
    Tensor(usize),
    /// A tensor of another shape or type.
    Unlike,
    Missing,
}

impl Pair {
    fn tensor(&self) -> Option<usize> {
        match self {
            Pair::Tensor(number) => Some(*number),
            Pair::Unlike | Pair::Missing => None,
        }
    }
}

/// The index along each dimension of an element in row-major order.
fn index(element: u64, shape: &[usize]) -> Vec<usize> {
    let mut rest = element as usize;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&len| {
            let at = rest % len.max(1);
            rest /= len.max(1);
            at
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_one_index_for_each_dimension() {
        assert_eq!(index(0, &[]), [0; 0]);
        assert_eq!(index(7, &[9]), [7]);
        assert_eq!(index(7, &[2, 5]), [1, 2]);
        assert_eq!(index(23, &[2, 3, 4]), [1, 2, 3]);
    }
}

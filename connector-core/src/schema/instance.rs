use super::{ParamSchema, Schema};
use crate::key::{Capture, Captures, Part, Pattern};

/// A schema under one config: how long its axes are, which flags hold, what shapes come out.
pub trait Instance: Send + Sync {
    /// The declaration.
    fn schema(&self) -> &'static Schema;
    /// The length of axis number `axis`.
    fn axis(&self, axis: usize) -> usize;
    /// The value of field number `field` at the indices `at`.
    fn field(&self, field: usize, at: &[usize]) -> u64;
    /// The value of flag number `flag` at the indices `at`.
    fn flag(&self, flag: usize, at: &[usize]) -> bool;
    /// The shape of parameter number `parameter` at the indices `at`.
    fn shape(&self, parameter: usize, at: &[usize]) -> Vec<usize>;
}

/// The [`Instance`] of a declared model.
#[derive(Debug)]
pub struct Configured<M: ParamSchema>(pub M::Config);

impl<M: ParamSchema> Instance for Configured<M> {
    fn schema(&self) -> &'static Schema {
        const { &M::PARAMETERS }
    }

    fn axis(&self, axis: usize) -> usize {
        M::axis(&self.0, axis)
    }

    fn field(&self, field: usize, at: &[usize]) -> u64 {
        M::field(&self.0, field, at)
    }

    fn flag(&self, flag: usize, at: &[usize]) -> bool {
        M::flag(&self.0, flag, at)
    }

    fn shape(&self, parameter: usize, at: &[usize]) -> Vec<usize> {
        M::shape(&self.0, parameter, at)
    }
}

/// The flags at some indices as the bits that [`Truth::holds`](crate::key::Truth::holds) takes.
pub fn flags_at(instance: &dyn Instance, at: &[usize]) -> u8 {
    let flags = 0..instance.schema().flags.len();
    flags.fold(0, |bits, flag| bits | u8::from(instance.flag(flag, at)) << flag)
}

/// Every combination of indices that `pattern`, a parameter's name, stands for: its captures, and
/// the index of each axis as the functions of [`Instance`] take them.
pub fn expand(
    instance: &dyn Instance,
    pattern: &Pattern<'static>,
) -> Vec<(Captures<'static>, Vec<usize>)> {
    let axes = instance.schema().axes;
    let mut out = vec![(Captures::new(), vec![0; axes.len()])];
    for part in pattern.parts() {
        let Part::Index { name, .. } = part else { continue };
        let Some(axis) = axes.iter().position(|axis| axis == name) else { continue };
        let len = instance.axis(axis);
        out = out
            .into_iter()
            .flat_map(|(captures, at)| {
                (0..len).map(move |index| {
                    let mut at = at.clone();
                    at[axis] = index;
                    (captures.with(Capture::index(name, index as u64)), at)
                })
            })
            .collect();
    }
    out
}

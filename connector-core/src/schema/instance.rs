use super::{ParamSchema, Schema};
use crate::key::{Capture, Captures, Part, Pattern, Truth};

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

/// A parameter that exists under a config, at some indices.
pub(crate) struct Existing {
    /// Which parameter of the schema.
    pub number: usize,
    pub captures: Captures<'static>,
    pub at: Vec<usize>,
    pub flags: u8,
}

/// Every parameter that exists under the config.
pub(crate) fn existing(instance: &dyn Instance) -> Vec<Existing> {
    let schema = instance.schema();
    let mut all = Vec::new();
    for (number, parameter) in schema.parameters.iter().enumerate() {
        // The macro has checked that the condition is over the schema's own flags.
        let truth = parameter.when.truth(schema.flags).unwrap_or(Truth::NEVER);
        let here = expand(instance, &parameter.pattern).into_iter().map(|(captures, at)| {
            let flags = flags_at(instance, &at);
            Existing { number, captures, at, flags }
        });
        all.extend(here.filter(|existing| truth.holds(existing.flags)));
    }
    all
}

/// The names that a parameter may have at some indices, the canonical one first; `None` if one
/// needs an axis or a field that the schema does not have.
pub(crate) fn names(instance: &dyn Instance, existing: &Existing) -> Option<Vec<String>> {
    let schema = instance.schema();
    let parameter = &schema.parameters[existing.number];
    let field = |name: &str| {
        let field = schema.fields.iter().position(|field| *field == name)?;
        Some(instance.field(field, &existing.at))
    };
    let spellings = std::iter::once(&parameter.pattern).chain(parameter.aka);
    spellings.map(|pattern| pattern.key(&existing.captures, field)).collect()
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

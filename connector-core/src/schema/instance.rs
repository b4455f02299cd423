use super::{ParamSchema, Schema};
use crate::base::parallel;
use crate::key::{Below, Capture, Captures, Condition, Part, Pattern, Term};

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
        M::field(&self.0, field, at) as u64
    }

    fn flag(&self, flag: usize, at: &[usize]) -> bool {
        M::flag(&self.0, flag, at)
    }

    fn shape(&self, parameter: usize, at: &[usize]) -> Vec<usize> {
        M::shape(&self.0, parameter, at)
    }
}

/// Whether a condition holds at some indices. One that names what the schema does not declare holds
/// nowhere.
pub fn holds(instance: &dyn Instance, when: &Condition, at: &[usize]) -> bool {
    let schema = instance.schema();
    let number = |all: &[&str], name: &str| all.iter().position(|other| *other == name);
    let value = |term: &Term| match term {
        Term::Flag(name) => Some(instance.flag(number(schema.flags, name)?, at)),
        Term::Below(Below { axis, field, plus, .. }) => {
            let index = at[number(schema.axes, axis)?] as u64;
            let bound = match *field {
                "" => 0,
                field => instance.field(number(schema.fields, field)?, at),
            };
            Some(index < bound.saturating_add(*plus))
        }
        _ => None,
    };
    when.holds(value) == Some(true)
}

/// A parameter that exists under a config, at some indices.
pub(crate) struct Existing {
    /// Which parameter of the schema.
    pub number: usize,
    pub captures: Captures<'static>,
    pub at: Vec<usize>,
}

/// Every parameter that exists under the config.
pub(crate) fn existing(instance: &dyn Instance) -> Vec<Existing> {
    let schema = instance.schema();
    let mut all = Vec::new();
    for (number, parameter) in schema.parameters.iter().enumerate() {
        let places = Places::of(instance, &parameter.pattern);
        let here = parallel::each(places.count(), |nth| {
            let (captures, at) = places.nth(nth);
            holds(instance, &parameter.when, &at).then_some(Existing { number, captures, at })
        });
        all.reserve(here.len());
        all.extend(here.into_iter().flatten());
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
    let mut names = Vec::with_capacity(1 + parameter.aka.len());
    for pattern in std::iter::once(&parameter.pattern).chain(parameter.aka) {
        names.push(pattern.key(&existing.captures, field)?);
    }
    Some(names)
}

/// The name and the shape of every parameter that exists under the config.
pub(crate) fn parameters(instance: &dyn Instance) -> Vec<(String, Vec<usize>)> {
    let named = |parameter: Existing| {
        let name = names(instance, &parameter)?.swap_remove(0);
        Some((name, instance.shape(parameter.number, &parameter.at)))
    };
    existing(instance).into_iter().filter_map(named).collect()
}

/// Every combination of indices that `pattern`, a parameter's name, stands for: its captures, and
/// the index of each axis as the functions of [`Instance`] take them.
pub fn expand(
    instance: &dyn Instance,
    pattern: &Pattern<'static>,
) -> Vec<(Captures<'static>, Vec<usize>)> {
    let places = Places::of(instance, pattern);
    (0..places.count()).map(|nth| places.nth(nth)).collect()
}

/// The combinations of indices that a pattern stands for.
struct Places {
    /// The indices in the pattern: what each captures, its axis by number, and how long that is.
    indices: Vec<(&'static str, usize, usize)>,
    /// How many axes the schema has.
    axes: usize,
}

impl Places {
    fn of(instance: &dyn Instance, pattern: &Pattern<'static>) -> Self {
        let axes = instance.schema().axes;
        let index = |part: &Part<'static>| {
            let Part::Index { name, .. } = *part else { return None };
            let axis = axes.iter().position(|axis| *axis == name)?;
            Some((name, axis, instance.axis(axis)))
        };
        Places { indices: pattern.parts().iter().filter_map(index).collect(), axes: axes.len() }
    }

    fn count(&self) -> usize {
        self.indices.iter().fold(1, |count, (_, _, len)| count.saturating_mul(*len))
    }

    /// Of the last index in the pattern every value comes before the next one of the index before it.
    fn nth(&self, nth: usize) -> (Captures<'static>, Vec<usize>) {
        let mut at = vec![0; self.axes];
        let mut rest = nth;
        for &(_, axis, len) in self.indices.iter().rev() {
            at[axis] = rest % len;
            rest /= len;
        }
        let mut captures = Captures::with_capacity(self.indices.len());
        for &(name, axis, _) in &self.indices {
            captures.push(Capture::index(name, at[axis] as u64));
        }
        (captures, at)
    }
}

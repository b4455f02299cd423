//! The parameters of a model: read from a checkpoint, held against its schema, made variables.

use crate::base::{Cancel, parallel};
use crate::connector::checked;
use crate::engine::read_tensor;
use crate::plan::{Finding, FindingKind, group_keys};
use crate::schema::{Instance, existing, names};
use crate::store::Source;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The parameters of a model under a config, each by the first name that the schema has for it. All
/// are there, with their shapes, on one device and of one type; but of those that a schema keeps in a
/// type none is rounded to half precision, as biases of experts, which differ by little.
#[derive(Clone, Debug)]
pub struct Parameters {
    tensors: BTreeMap<String, Tensor>,
    /// Those that are never rounded to half precision.
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "training alone casts again"))]
    kept: BTreeSet<String>,
}

/// A parameter that is wanted.
struct Wanted {
    name: String,
    shape: Vec<usize>,
    /// Whether it is never rounded to half precision.
    kept: bool,
}

/// What a schema wants under a config.
struct Declared {
    wanted: Vec<Wanted>,
    /// Which parameter each spelling of a name stands for.
    by_name: HashMap<String, usize>,
}

impl Parameters {
    /// Takes `tensors` for the parameters of `instance`, under any of their names, and casts them to
    /// `dtype`. Variables stay the ones they are where nothing is cast.
    ///
    /// # Errors
    /// [`Error::Refused`] with every parameter that is missing, every tensor that is none or has
    /// another shape; [`Error::Candle`].
    pub fn new(
        instance: &dyn Instance,
        tensors: impl IntoIterator<Item = (String, Tensor)>,
        dtype: DType,
    ) -> Result<Self> {
        let tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
        let declared = Declared::of(instance);
        let order = declared.settle(tensors.iter().map(|(name, t)| (name.as_str(), t.dims())))?;
        // Each is let go once it is cast, so that not all are there twice.
        let mut tensors: Vec<Option<Tensor>> = tensors.into_iter().map(|(_, t)| Some(t)).collect();
        let kept = declared.kept();
        let named = order.into_iter().zip(declared.wanted).map(|(at, wanted)| {
            let tensor = tensors[at].take().expect("each is one parameter's");
            let dtype = spared(dtype, wanted.kept);
            Ok((wanted.name, tensor.to_dtype(dtype).map_err(Error::candle)?))
        });
        Ok(Parameters { tensors: named.collect::<Result<_>>()?, kept })
    }

    /// Reads the parameters of `instance` from a checkpoint that has them under any of their names,
    /// one tensor after the other, casts them to `dtype` and puts them on `device`.
    ///
    /// # Errors
    /// As [`new`](Self::new), before anything is read;
    /// [`Damaged`](crate::checkpoint::Error::Damaged); [`Io`](crate::store::Error::Io).
    pub fn read(
        instance: &dyn Instance,
        source: &dyn Source,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let declared = Declared::of(instance);
        let kept = declared.kept();
        let infos = source.tensors();
        let order = declared.settle(infos.iter().map(|i| (i.name.as_str(), i.shape.as_slice())))?;
        let tensors = checked(source, (parallel::cores(), &Cancel::default()), |source| {
            let named = order.into_iter().zip(declared.wanted).map(|(at, wanted)| {
                let tensor = read_tensor(source, &infos[at], device)?;
                let dtype = spared(dtype, wanted.kept);
                Ok((wanted.name, tensor.to_dtype(dtype).map_err(Error::candle)?))
            });
            named.collect()
        })?;
        source.check_unchanged()?;
        Ok(Parameters { tensors, kept })
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The same parameters in `dtype`, with gradients that go back to these. What is of the type
    /// already is shared.
    ///
    /// # Errors
    /// [`Error::Candle`].
    #[cfg(feature = "train")]
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let cast = |(name, tensor): (&String, &Tensor)| {
            Ok((name.clone(), tensor.to_dtype(spared(dtype, self.kept.contains(name)))?))
        };
        let tensors = self.tensors.iter().map(cast).collect::<candle_core::Result<_>>();
        Ok(Parameters { tensors: tensors.map_err(Error::candle)?, kept: self.kept.clone() })
    }

    /// The same parameters, without gradients.
    #[cfg(feature = "train")]
    pub(crate) fn detach(&self) -> Self {
        let tensors = self.tensors.iter().map(|(name, t)| (name.clone(), t.detach()));
        Parameters { tensors: tensors.collect(), kept: self.kept.clone() }
    }

    /// Makes variables of the parameters whose names `which` picks, so that what is computed with
    /// them has gradients. Returns them; a model that is made from these parameters afterwards
    /// computes with what they are set to.
    ///
    /// # Errors
    /// [`Error::Candle`].
    pub fn train(&mut self, which: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Var>> {
        let mut variables = BTreeMap::new();
        for (name, tensor) in self.tensors.iter_mut().filter(|(name, _)| which(name)) {
            let variable = Var::from_tensor(tensor).map_err(Error::candle)?;
            *tensor = variable.as_tensor().clone();
            variables.insert(name.clone(), variable);
        }
        Ok(variables)
    }
}

/// The type for a parameter of a model in `dtype`.
fn spared(dtype: DType, kept: bool) -> DType {
    match dtype {
        DType::BF16 | DType::F16 if kept => DType::F32,
        dtype => dtype,
    }
}

impl Declared {
    fn of(instance: &dyn Instance) -> Self {
        let (mut wanted, mut by_name) = (Vec::new(), HashMap::new());
        for parameter in existing(instance) {
            let spellings = names(instance, &parameter).unwrap_or_default();
            let Some(name) = spellings.first().cloned() else { continue };
            by_name.extend(spellings.into_iter().map(|spelling| (spelling, wanted.len())));
            let shape = instance.shape(parameter.number, &parameter.at);
            let kept = instance.schema().parameters[parameter.number].keep.is_some();
            wanted.push(Wanted { name, shape, kept });
        }
        Declared { wanted, by_name }
    }

    /// The names of those that are never rounded to half precision.
    fn kept(&self) -> BTreeSet<String> {
        self.wanted.iter().filter(|wanted| wanted.kept).map(|wanted| wanted.name.clone()).collect()
    }

    /// Which tensor each parameter is.
    fn settle<'t>(
        &self,
        tensors: impl Iterator<Item = (&'t str, &'t [usize])>,
    ) -> Result<Vec<usize>> {
        let mut order = vec![None; self.wanted.len()];
        let (mut unknown, mut doubled, mut findings) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (name, shape)) in tensors.enumerate() {
            let Some(&number) = self.by_name.get(name) else {
                unknown.push(name.to_string());
                continue;
            };
            if order[number].replace(at).is_some() {
                doubled.push(name.to_string());
            }
            let wanted = &self.wanted[number].shape;
            if shape != wanted {
                let problem = format!("is {shape:?}; under this config it should be {wanted:?}");
                findings.push(Finding::new(FindingKind::Shape, name, problem));
            }
        }
        let missing = self.wanted.iter().zip(&order).filter(|(_, at)| at.is_none());
        let missing: Vec<String> = missing.map(|(wanted, _)| wanted.name.clone()).collect();
        for (kind, names, problem) in [
            (FindingKind::MissingSource, missing, "is not in the checkpoint"),
            (FindingKind::UnusedTensor, unknown, "is no parameter of this model under this config"),
            (FindingKind::Ambiguous, doubled, "is in the checkpoint under another name too"),
        ] {
            findings.extend(group_keys(names).into_iter().map(|group| Finding {
                keys: group.keys,
                ..Finding::new(kind, group.text, problem)
            }));
        }
        match order.into_iter().collect::<Option<Vec<usize>>>() {
            Some(order) if findings.is_empty() => Ok(order),
            _ => Err(Error::refused(findings)),
        }
    }
}

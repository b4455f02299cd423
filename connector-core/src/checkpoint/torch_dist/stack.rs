//! From the parameters of a model to the tensors of a checkpoint: the way back from `names`.
//!
//! ```text
//! decoder.layers.3.mlp.experts.local_experts.5.linear_fc1.weight   [2 ffn, hidden]
//!   stacked    module.decoder.layers.mlp.experts.experts.linear_fc1.weight     at [3, 5, 0, 0]
//!   per layer  module.decoder.layers.3.mlp.experts.experts.linear_fc1.weight   at [5, 0, 0]
//! ```

use super::{DistOptions, LayerLayout, names};
use crate::base::Advice;
use crate::checkpoint::safetensors::OutputTensor;
use crate::store::{Dtype, Encoding, Pieces, TensorInfo};
use std::collections::{HashMap, HashSet};

/// A tensor that several parameters make up.
#[derive(Debug, PartialEq)]
pub(super) struct Stack {
    pub key: String,
    pub dtype: Dtype,
    /// How many layers and experts are on top of each other.
    pub axes: Vec<usize>,
    /// The shape of one parameter.
    pub inner: Vec<usize>,
    /// The parameters in row-major order of the axes, by number.
    pub members: Vec<usize>,
}

/// Why parameters cannot be stacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// Layers or experts differ in shape or type.
    #[error("{one} and {other} cannot be stacked: they differ in shape or type{}", hint(*.layout))]
    Differ {
        /// A parameter.
        one: String,
        /// Another.
        other: String,
        /// How layers were to be stored.
        layout: LayerLayout,
    },
    /// Some layers or experts lack a parameter that others have.
    #[error("{key} cannot be stacked: it would have {axes:?} layers or experts, and there are {found}{}", hint(*.layout))]
    Holes {
        /// The stacked tensor.
        key: String,
        /// Its extent.
        axes: Vec<usize>,
        /// How many parameters there are.
        found: usize,
        /// How layers were to be stored.
        layout: LayerLayout,
    },
    /// Two names for one parameter, such as that of an expert by itself and in a group.
    #[error("{one} and {other} are the same parameter of torch_dist; {}", Advice::WriteSafetensors)]
    Same {
        /// A parameter.
        one: String,
        /// Another.
        other: String,
    },
    /// A name that stands for something else in such a checkpoint.
    #[error(
        "{name} cannot be stored in torch_dist, which would read it back as something else: a state \
         of training, a stack of layers or experts, half of a tensor, or a name without its `module.` \
         or `model.`; {}",
        Advice::WriteSafetensors
    )]
    Name {
        /// The parameter.
        name: String,
    },
}

impl StackError {
    /// What can be done about it.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            StackError::Differ { layout, .. } | StackError::Holes { layout, .. } => match layout {
                LayerLayout::Stacked => Some(Advice::StorePerLayer),
                LayerLayout::PerLayer => None,
            },
            StackError::Same { .. } | StackError::Name { .. } => Some(Advice::WriteSafetensors),
        }
    }
}

fn hint(layout: LayerLayout) -> String {
    match layout {
        LayerLayout::Stacked => format!("; {}", Advice::StorePerLayer),
        LayerLayout::PerLayer => String::new(),
    }
}

impl LayerLayout {
    /// How the layers of a model with these parameters are stored: on top of each other, unless one
    /// lacks what another has or has it in another shape.
    pub(crate) fn of<N: AsRef<str>>(parameters: &[(N, Vec<usize>)]) -> Self {
        let mut kinds: HashMap<String, (usize, &[usize])> = HashMap::new();
        let mut layers = HashSet::new();
        for (name, shape) in parameters {
            let key = names::canonical(name.as_ref());
            let Some((before, layer, after)) = names::numbered(&key, names::LAYERS) else {
                continue;
            };
            layers.insert(layer);
            let kind = kinds.entry(format!("{before}{after}")).or_insert((0, shape));
            if kind.1 != shape {
                return LayerLayout::PerLayer;
            }
            kind.0 += 1;
        }
        let all_have_it = kinds.values().all(|(count, _)| *count == layers.len());
        if all_have_it { LayerLayout::Stacked } else { LayerLayout::PerLayer }
    }
}

/// The key of a parameter and its places along the axes that are stacked.
fn home(name: &str, options: &DistOptions) -> (String, Vec<usize>) {
    let mut key = names::canonical(name);
    let mut at = Vec::new();
    if options.layers == LayerLayout::Stacked
        && let Some((before, index, after)) = names::numbered(&key, names::LAYERS)
    {
        at.push(index);
        key = format!("{before}{}{after}", names::LAYERS);
    }
    if let Some((before, index, after)) = names::numbered(&key, names::LOCAL_EXPERTS) {
        at.push(index);
        key = format!("{before}{}{after}", names::EXPERTS);
    }
    (format!("{}{key}", options.prefix), at)
}

/// The tensors that the parameters make up, in the order of their first parameters.
pub(super) fn stacks(
    parameters: &[OutputTensor<'_>],
    options: &DistOptions,
) -> Result<Vec<Stack>, StackError> {
    let layout = options.layers;
    let mut order: Vec<String> = Vec::new();
    let mut groups: HashMap<String, Vec<(Vec<usize>, usize)>> = HashMap::new();
    for (number, parameter) in parameters.iter().enumerate() {
        let (key, at) = home(parameter.name, options);
        let members = groups.entry(key.clone()).or_default();
        if members.is_empty() {
            order.push(key);
        }
        members.push((at, number));
    }
    let stacks = order
        .into_iter()
        .map(|key| {
            let mut members = groups.remove(&key).unwrap_or_default();
            members.sort();
            let name = |number: usize| parameters[number].name.to_string();
            let axes = members.iter().map(|(at, _)| at.len());
            if axes.clone().min() != axes.clone().max() {
                // One of them is called as the stack of the others is.
                let fewest = members.iter().min_by_key(|(at, _)| at.len());
                return Err(StackError::Name {
                    name: fewest.map_or(key, |(_, number)| name(*number)),
                });
            }
            let same = members.windows(2).find(|pair| pair[0].0 == pair[1].0);
            if let Some([(_, one), (_, other)]) = same {
                return Err(StackError::Same { one: name(*one), other: name(*other) });
            }
            let first = &parameters[members[0].1];
            let alike = |(_, number): &&(_, usize)| {
                let other = &parameters[*number];
                (other.dtype, other.shape) != (first.dtype, first.shape)
            };
            if let Some((_, other)) = members.iter().find(alike) {
                return Err(StackError::Differ {
                    one: first.name.into(),
                    other: name(*other),
                    layout,
                });
            }
            let last = &members[members.len() - 1].0;
            let axes: Vec<usize> = (0..last.len())
                .map(|axis| members.iter().map(|(at, _)| at[axis].saturating_add(1)).max())
                .map(|most| most.unwrap_or(0))
                .collect();
            // Sorted, distinct and as many as fit: all are there.
            let whole = axes.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
            if whole != Some(members.len()) {
                return Err(StackError::Holes { key, axes, found: members.len(), layout });
            }
            let members = members.into_iter().map(|(_, number)| number).collect();
            Ok(Stack { key, dtype: first.dtype, axes, inner: first.shape.to_vec(), members })
        })
        .collect::<Result<Vec<_>, _>>()?;
    check_names(parameters, &stacks)?;
    Ok(stacks)
}

/// Refuses parameters that a reader would not find again under their names.
fn check_names(parameters: &[OutputTensor<'_>], stacks: &[Stack]) -> Result<(), StackError> {
    let stored = stacks.iter().filter(|stack| names::is_parameter(&stack.key));
    let stored = stored.map(|Stack { key, dtype, axes, inner, .. }| TensorInfo {
        name: key.clone(),
        shape: axes.iter().chain(inner).copied().collect(),
        dtype: *dtype,
        encoding: Encoding::Raw,
        pieces: Pieces::Boxes(Vec::new()),
    });
    // What is wrong with a name is that it is missing.
    let read = names::parameters(stored.collect(), &mut Vec::new());
    let read: HashSet<&str> = read.iter().map(|tensor| tensor.name.as_str()).collect();
    let lost = parameters.iter().find(|p| !read.contains(names::canonical(p.name).as_str()));
    lost.map_or(Ok(()), |lost| Err(StackError::Name { name: lost.name.into() }))
}

/// The keys of Transformer Engine's states, which loading asks for although there is nothing in
/// them: one for each linear layer of each layer and expert, and one for attention itself, which
/// Megatron-core up to 0.14 asks for.
pub(super) fn extra_states(stacks: &[Stack]) -> Vec<String> {
    const ATTENTION: &str = "self_attention.linear_qkv";
    let mut keys = Vec::new();
    for Stack { key, axes, .. } in stacks {
        let Some(module) = key.strip_suffix(".weight") else { continue };
        let name = module.rsplit('.').next().unwrap_or(module);
        if !module.contains(names::LAYERS) || !name.starts_with("linear_") {
            continue;
        }
        let mut modules = vec![module.to_string()];
        if let Some(layer) = module.strip_suffix(ATTENTION) {
            modules.push(format!("{layer}self_attention.core_attention"));
        }
        for module in modules {
            keys.extend(shards(axes).map(|shard| format!("{module}._extra_state/shard_{shard}")));
        }
    }
    keys
}

/// The names of the parts of an object that is stacked: `1.0_2.4` is the first expert of four in
/// the second layer of two.
fn shards(axes: &[usize]) -> impl Iterator<Item = String> {
    // What is not stacked is the first of one.
    let axes = if axes.is_empty() { vec![1] } else { axes.to_vec() };
    let joined =
        |numbers: &[usize]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
    let count: usize = axes.iter().product();
    let whole = joined(&axes);
    (0..count).map(move |mut number| {
        let mut at = vec![0; axes.len()];
        for (place, &len) in at.iter_mut().zip(&axes).rev() {
            *place = number % len;
            number /= len;
        }
        format!("{}_{whole}", joined(&at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters<'a>(names: &[&'a str]) -> Vec<OutputTensor<'a>> {
        let tensor = |&name| OutputTensor { name, dtype: Dtype::Bf16, shape: &[4, 2] };
        names.iter().map(tensor).collect()
    }

    fn in_nemo(layers: LayerLayout) -> DistOptions {
        DistOptions { layers, prefix: "module.", ..DistOptions::default() }
    }

    #[test]
    fn parameters_are_stacked_over_layers_and_experts() {
        let names = [
            "decoder.layers.1.mlp.experts.local_experts.0.linear_fc1.weight",
            "decoder.layers.0.mlp.experts.linear_fc1.weight1",
            "decoder.layers.1.mlp.experts.local_experts.1.linear_fc1.weight",
            "decoder.layers.0.mlp.experts.local_experts.0.linear_fc1.weight",
            "decoder.final_layernorm.weight",
        ];
        let stack = stacks(&parameters(&names), &in_nemo(LayerLayout::Stacked)).unwrap();
        assert_eq!(stack[0].key, "module.decoder.layers.mlp.experts.experts.linear_fc1.weight");
        assert_eq!((&stack[0].axes[..], &stack[0].members[..]), (&[2, 2][..], &[3, 1, 0, 2][..]));
        assert_eq!(
            (stack[1].key.as_str(), stack[1].axes.len()),
            ("module.decoder.final_layernorm.weight", 0)
        );
        let by_layer = stacks(&parameters(&names), &in_nemo(LayerLayout::PerLayer)).unwrap();
        assert_eq!(
            by_layer[0].key,
            "module.decoder.layers.1.mlp.experts.experts.linear_fc1.weight"
        );
        assert_eq!((&by_layer[0].axes[..], &by_layer[0].members[..]), (&[2][..], &[0, 2][..]));
    }

    #[test]
    fn holes_and_differences_are_refused() {
        let holes = stacks(&parameters(&["decoder.layers.1.x"]), &in_nemo(LayerLayout::Stacked))
            .unwrap_err();
        assert!(
            holes.to_string().contains("[2] layers or experts, and there are 1; store each layer")
        );
        assert!(
            stacks(&parameters(&["decoder.layers.1.x"]), &in_nemo(LayerLayout::PerLayer)).is_ok()
        );
        let mut differ = parameters(&["decoder.layers.0.x", "decoder.layers.1.x"]);
        differ[1].shape = &[4, 3];
        let differ = stacks(&differ, &in_nemo(LayerLayout::Stacked)).unwrap_err().to_string();
        assert!(differ.starts_with("decoder.layers.0.x and decoder.layers.1.x cannot"), "{differ}");
    }

    #[test]
    fn names_that_would_be_read_as_others_are_refused() {
        let layer = "decoder.layers.0.mlp.";
        let of = |names: &[&str]| names.iter().map(|name| name.replace("L.", layer)).collect();
        let cases: [(Vec<String>, &str); 10] = [
            (
                of(&["decoder.layers.mlp.w", "decoder.layers.0.mlp.w"]),
                "decoder.layers.mlp.w cannot",
            ),
            (of(&["decoder.layers.w"]), "decoder.layers.w cannot"),
            (of(&["decoder.layers.00.w"]), "layers.00.w cannot"),
            (of(&["module.x", "x"]), "module.x cannot"),
            (of(&["optimizer.x"]), "optimizer.x cannot"),
            (of(&["x._extra_state"]), "x._extra_state cannot"),
            (of(&["L.linear_fc1.weight_w", "L.linear_fc1.weight_v"]), "weight_w cannot"),
            (
                of(&["L.router.weight", "L.linear_fc1.layer_norm_weight"]),
                "layer_norm_weight cannot",
            ),
            (
                of(&[
                    "L.experts.linear_fc1.weight0",
                    "L.experts.local_experts.0.linear_fc1.weight",
                ]),
                "weight0 and decoder.layers.0.mlp.experts.local_experts.0.linear_fc1.weight are the same",
            ),
            (of(&["decoder.layers.18446744073709551615.w"]), "18446744073709551615"),
        ];
        for (names, want) in cases {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let found = stacks(&parameters(&names), &in_nemo(LayerLayout::Stacked));
            let message = found.unwrap_err().to_string();
            assert!(message.contains(want), "{names:?}: {message}");
        }
    }

    #[test]
    fn each_linear_layer_has_a_state() {
        let names = ["decoder.layers.0.self_attention.linear_qkv.weight", "output_layer.weight"];
        let of = |layout| extra_states(&stacks(&parameters(&names), &in_nemo(layout)).unwrap());
        let name = |layer: &str, module: &str| {
            format!("module.decoder.layers.{layer}self_attention.{module}._extra_state/shard_0_1")
        };
        assert_eq!(of(LayerLayout::Stacked), ["linear_qkv", "core_attention"].map(|m| name("", m)));
        assert_eq!(
            of(LayerLayout::PerLayer),
            ["linear_qkv", "core_attention"].map(|m| name("0.", m))
        );
        assert_eq!(
            shards(&[2, 2]).collect::<Vec<_>>(),
            ["0.0_2.2", "0.1_2.2", "1.0_2.2", "1.1_2.2"]
        );
    }
}

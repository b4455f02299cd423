//! From the tensors of a checkpoint to the parameters of a model: names, layers, experts.
//!
//! ```text
//! module.decoder.layers.mlp.experts.experts.linear_fc1.weight      [layers, experts, 2 ffn, hidden]
//! └ the frameworks' ┘ no number: layers are stacked   └ no number: experts are stacked
//!   own prefix        decoder.layers.3.… has one layer  experts.experts.5.… has one expert
//!
//! decoder.layers.3.mlp.experts.local_experts.5.linear_fc1.weight   [2 ffn, hidden]
//! ```
//!
//! With `singleton_local_shards` a gated `linear_fc1` comes in two: `weight_w`, the gate, above
//! `weight_v`, the other.

use super::Problem;
use crate::store::{Dtype, Encoding, Piece, Pieces, TensorInfo};
use std::collections::{BTreeMap, BTreeSet};

/// What comes before the model's own names: NeMo's and PyTorch Lightning's `module`.
const PREFIXES: [&str; 2] = ["module.", "model."];
/// Keys that begin so are no parameters: states of the optimizer, of random numbers, of the run.
const STATES: [&str; 8] = [
    "optimizer",
    "chained_",
    "opt_param_scheduler",
    "rng_state",
    "rerun_state",
    "common_state",
    "iteration",
    "train_state",
];
/// The folder of layers, and of experts as Megatron-core calls them in checkpoints.
pub(super) const LAYERS: &str = "layers.";
pub(super) const EXPERTS: &str = "experts.experts.";
/// The experts as the model calls them.
pub(super) const LOCAL_EXPERTS: &str = "experts.local_experts.";
/// The norm before the experts: as Transformer Engine's layers call it, and as Megatron-core's own
/// do, which take the name that it has in a dense layer.
const MOE_NORM: &str = "pre_mlp_layernorm.weight";
const DENSE_NORM: &str = "mlp.linear_fc1.layer_norm_weight";
const ROUTER: &str = "mlp.router.weight";

/// The most layers or experts that are taken apart. The largest models have some hundreds.
const MOST: usize = 1 << 14;
/// The most parameters.
const MOST_PARAMETERS: usize = 1 << 22;

/// Whether a key is a parameter of the model.
pub(super) fn is_parameter(key: &str) -> bool {
    let key = plain(key);
    !STATES.iter().any(|state| key.starts_with(state))
        && !key.contains("_extra_state")
        && !key.contains("/shard_")
}

/// A key without the prefixes that frameworks put before it.
fn plain(mut key: &str) -> &str {
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)) {
        key = rest;
    }
    key
}

/// The parameters in tensors as they are stored, sorted by name. Problems are noted; what has one
/// is left out.
pub(super) fn parameters(stored: Vec<TensorInfo>, problems: &mut Vec<Problem>) -> Vec<TensorInfo> {
    let mut found = BTreeMap::new();
    for tensor in stored {
        let key = tensor.name.clone();
        let split = match split(tensor, MOST_PARAMETERS - found.len()) {
            Ok(split) => split,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        for parameter in split {
            if found.contains_key(&parameter.name) {
                problems.push(Problem::SameParameter { tensor: key, parameter: parameter.name });
                break;
            }
            found.insert(parameter.name.clone(), parameter);
        }
    }
    rename_moe_norms(&mut found);
    join_gated(&mut found);
    found.into_values().collect()
}

/// The parameters that are stacked in a tensor.
fn split(tensor: TensorInfo, room: usize) -> Result<Vec<TensorInfo>, Problem> {
    let name = plain(&tensor.name).to_string();
    let mut parts = vec![TensorInfo { name, ..tensor.clone() }];
    for (folder, what) in [(LAYERS, "layers"), (EXPERTS, "experts")] {
        let mut split = Vec::new();
        for part in parts {
            let Some((before, after)) = stacked(&part.name, folder) else {
                split.push(part);
                continue;
            };
            let (before, after) = (before.to_string(), after.to_string());
            let count = part.shape.first().copied().unwrap_or(0);
            let most = MOST.min(room.saturating_sub(split.len()));
            if part.shape.is_empty() || count > most {
                return Err(Problem::TooMany { tensor: tensor.name, count, what, most });
            }
            split.extend(unstack(part, |index| format!("{before}{folder}{index}.{after}")));
        }
        parts = split;
    }
    for part in &mut parts {
        if let Some(at) = folder_in(&part.name, EXPERTS) {
            part.name.replace_range(at..at + EXPERTS.len(), LOCAL_EXPERTS);
        }
    }
    Ok(parts)
}

/// What is before and behind a folder, if no number follows it.
fn stacked<'n>(name: &'n str, folder: &str) -> Option<(&'n str, &'n str)> {
    let at = folder_in(name, folder)?;
    let after = &name[at + folder.len()..];
    let next = after.split('.').next().unwrap_or(after);
    let is_number = !next.is_empty() && next.bytes().all(|byte| byte.is_ascii_digit());
    (!is_number).then_some((&name[..at], after))
}

/// Where a folder begins in a name: at its start, or after a dot.
fn folder_in(name: &str, folder: &str) -> Option<usize> {
    match name.starts_with(folder) {
        true => Some(0),
        false => name.find(&format!(".{folder}")).map(|dot| dot + 1),
    }
}

/// The slices of a tensor along its first dimension. A slice of a box is a run of it.
fn unstack(tensor: TensorInfo, name: impl Fn(usize) -> String) -> Vec<TensorInfo> {
    let TensorInfo { shape, dtype, encoding, .. } = &tensor;
    let mut slices = vec![Vec::new(); shape[0]];
    for Piece { file, offset, start, size } in tensor.boxes().into_owned() {
        let elements: u64 = size[1..].iter().map(|&n| n as u64).product();
        let bytes = elements * dtype.bits() / 8;
        for (nth, slice) in slices[start[0]..start[0] + size[0]].iter_mut().enumerate() {
            slice.push(Piece {
                file,
                offset: offset + nth as u64 * bytes,
                start: start[1..].to_vec(),
                size: size[1..].to_vec(),
            });
        }
    }
    let slice = |(index, boxes)| TensorInfo {
        name: name(index),
        shape: shape[1..].to_vec(),
        dtype: *dtype,
        encoding: encoding.clone(),
        pieces: Pieces::new(boxes, &shape[1..]),
    };
    slices.into_iter().enumerate().map(slice).collect()
}

/// The name that the reader gives a parameter: experts by number before their layers, not behind.
///
/// `mlp.experts.linear_fc1.weight3` is `mlp.experts.local_experts.3.linear_fc1.weight`.
pub(crate) fn canonical(name: &str) -> String {
    const FOLDER: &str = "experts.";
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[plain.len()..];
    let (module, kind) = plain.rsplit_once('.').unwrap_or_default();
    let Some(at) = folder_in(module, FOLDER) else { return name.into() };
    let (before, module) = (&module[..at], &module[at + FOLDER.len()..]);
    let numbered = module.split('.').next().unwrap_or(module);
    let others = ["local_experts", "experts"].contains(&numbered)
        || numbered.bytes().all(|byte| byte.is_ascii_digit());
    if number.is_empty() || others || !["weight", "bias"].contains(&kind) {
        return name.into();
    }
    format!("{before}{LOCAL_EXPERTS}{number}.{module}.{kind}")
}

/// The way back, to the name of experts as Megatron-core's grouped ones have it.
pub(crate) fn grouped(name: &str) -> String {
    let Some((before, number, module)) = numbered(name, LOCAL_EXPERTS) else { return name.into() };
    format!("{before}experts.{module}{number}")
}

/// What is before a folder, the number that follows it, and what is behind that.
pub(super) fn numbered<'n>(name: &'n str, folder: &str) -> Option<(&'n str, usize, &'n str)> {
    let (before, rest) = name.split_once(folder)?;
    let (number, after) = rest.split_once('.')?;
    let starts = before.is_empty() || before.ends_with('.');
    let decimal = number.bytes().all(|byte| byte.is_ascii_digit());
    (starts && decimal).then(|| Some((before, number.parse().ok()?, after))).flatten()
}

/// Gives the norm of a layer with a router the name that it has in the model.
fn rename_moe_norms(found: &mut BTreeMap<String, TensorInfo>) {
    let layers: Vec<_> =
        found.keys().filter_map(|name| name.strip_suffix(ROUTER)).map(String::from).collect();
    for layer in layers {
        let name = format!("{layer}{MOE_NORM}");
        if found.contains_key(&name) {
            continue;
        }
        if let Some(norm) = found.remove(&format!("{layer}{DENSE_NORM}")) {
            found.insert(name.clone(), TensorInfo { name, ..norm });
        }
    }
}

/// Joins the two halves of a gated layer. Halves that do not fit stay as they are, and match no
/// parameter.
fn join_gated(found: &mut BTreeMap<String, TensorInfo>) {
    let halves = found.keys().filter_map(|name| name.strip_suffix("_w")).map(String::from);
    let halves: BTreeSet<_> =
        halves.filter(|name| found.contains_key(&format!("{name}_v"))).collect();
    for name in halves {
        let pair = [format!("{name}_w"), format!("{name}_v")];
        let [gate, up] = pair.each_ref().map(|half| &found[half]);
        let fits = gate.shape.get(1..) == up.shape.get(1..) && gate.dtype == up.dtype;
        if !fits || gate.shape.is_empty() || found.contains_key(&name) {
            continue;
        }
        let joined = below(name.clone(), gate, up);
        pair.iter().for_each(|half| drop(found.remove(half)));
        found.insert(name, joined);
    }
}

/// `upper` above `lower`, along the first dimension.
fn below(name: String, upper: &TensorInfo, lower: &TensorInfo) -> TensorInfo {
    let rows = upper.shape[0];
    let mut shape = upper.shape.clone();
    shape[0] = rows.saturating_add(lower.shape[0]);
    let moved = lower.boxes().into_owned().into_iter().map(|mut piece| {
        piece.start[0] += rows;
        piece
    });
    let pieces = Pieces::Boxes(upper.boxes().into_owned().into_iter().chain(moved).collect());
    let dtype: Dtype = upper.dtype;
    TensorInfo { name, shape, dtype, encoding: Encoding::Raw, pieces }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize]) -> TensorInfo {
        TensorInfo::whole(name.into(), shape.to_vec(), Dtype::U8, 0, 0)
    }

    fn names(stored: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>, u64)> {
        let mut problems = Vec::new();
        let stored = stored.iter().map(|(name, shape)| tensor(name, shape)).collect();
        let all = parameters(stored, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        all.into_iter().map(|t| (t.name, t.shape, t.pieces.first().unwrap().1)).collect()
    }

    #[test]
    fn each_layout_gives_the_parameters_of_the_model() {
        let named =
            |name: &str, shape: &[usize], offset| (name.to_string(), shape.to_vec(), offset);
        assert_eq!(
            names(&[("module.decoder.layers.x.weight", &[2, 3])]),
            [
                named("decoder.layers.0.x.weight", &[3], 0),
                named("decoder.layers.1.x.weight", &[3], 3)
            ]
        );
        assert_eq!(
            names(&[("decoder.layers.7.x.weight", &[2, 3])]),
            [named("decoder.layers.7.x.weight", &[2, 3], 0)]
        );
        let experts = "decoder.layers.mlp.experts.experts.linear_fc2.weight";
        let split = names(&[(experts, &[2, 2, 5])]);
        let name = "decoder.layers.1.mlp.experts.local_experts.1.linear_fc2.weight";
        assert_eq!((split.len(), &split[3]), (4, &named(name, &[5], 15)));
        assert_eq!(
            names(&[("decoder.layers.0.mlp.experts.experts.3.linear_fc2.weight", &[5])])[0].0,
            "decoder.layers.0.mlp.experts.local_experts.3.linear_fc2.weight"
        );
        assert_eq!(
            names(&[("l.linear_fc1.weight_v", &[2, 3]), ("l.linear_fc1.weight_w", &[2, 3])]),
            [named("l.linear_fc1.weight", &[4, 3], 0)]
        );
        let moe: Vec<_> = names(&[
            ("decoder.layers.mlp.linear_fc1.layer_norm_weight", &[1, 3]),
            ("decoder.layers.mlp.router.weight", &[1, 3]),
        ]);
        assert_eq!(moe[1].0, "decoder.layers.0.pre_mlp_layernorm.weight");
    }

    #[test]
    fn experts_have_two_names() {
        for (grouped_name, local) in [
            (
                "l.0.mlp.experts.linear_fc1.weight12",
                "l.0.mlp.experts.local_experts.12.linear_fc1.weight",
            ),
            ("experts.a.b.bias0", "experts.local_experts.0.a.b.bias"),
            ("l.0.mlp.linear_fc1.weight", "l.0.mlp.linear_fc1.weight"),
            ("l.0.experts.fc1", "l.0.experts.fc1"),
            ("l.0.experts.weight3", "l.0.experts.weight3"),
            ("l.0.experts.3.fc.weight3", "l.0.experts.3.fc.weight3"),
            ("l.0.shared_experts.fc.weight3", "l.0.shared_experts.fc.weight3"),
        ] {
            assert_eq!(canonical(grouped_name), local);
            assert_eq!(grouped(local), grouped_name);
        }
    }

    #[test]
    fn states_are_no_parameters() {
        for (key, want) in [
            ("module.decoder.final_layernorm.weight", true),
            ("embedding.word_embeddings.weight", true),
            ("optimizer.state.exp_avg.module.decoder.layers.x", false),
            ("chained_0.optimizer.state", false),
            ("module.decoder.layers.x._extra_state/shard_0_1", false),
            ("rng_state/shard_0.0_1.1", false),
            ("common_state/shard_0_1", false),
        ] {
            assert_eq!(is_parameter(key), want, "{key}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_a_problem() {
        for (stored, want) in [
            (vec![tensor("decoder.layers.x", &[1 << 15, 0])], "layers"),
            (vec![tensor("decoder.layers.x", &[])], "0 layers"),
            (vec![tensor("module.x", &[1]), tensor("x", &[1])], "another tensor"),
        ] {
            let mut problems = Vec::new();
            parameters(stored, &mut problems);
            assert!(problems[0].to_string().contains(want), "{problems:?}");
        }
    }
}

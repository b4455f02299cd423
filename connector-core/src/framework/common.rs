//! What is the same on all ranks: `common.pt`, and Megatron-Bridge's state of a run.

use super::python::Python;
use crate::checkpoint::Flavor;
use crate::checkpoint::torch::pickle::Writer;
use crate::checkpoint::torch::zip::{objects, with_tensors};
use crate::checkpoint::torch_dist::LayerLayout;
use serde_json::{Map, Value};

/// The state of a run of PyTorch Lightning that has not begun: NeMo goes on from it where a
/// checkpoint is resumed and not only loaded. As NeMo's importers write it, without the callbacks
/// of their run.
const LIGHTNING: &str = include_str!("lightning.json");

/// `common.pt`, for a model whose arguments of Megatron-LM are `args`.
pub(super) fn common(flavor: Flavor, layers: LayerLayout, args: Option<&Python>) -> Vec<u8> {
    let mut entries = match flavor {
        Flavor::Nemo => run_of_lightning(),
        // Below 2, or without it, Megatron-LM takes the rows of linear_qkv for those of old models.
        Flavor::MegatronLm | Flavor::MegatronBridge => vec![
            ("checkpoint_version".into(), Python::Float(3.0)),
            ("iteration".into(), Python::Int(0)),
        ],
    };
    entries.push(("content_metadata".into(), content_metadata(flavor, layers)));
    let mut writer = Writer::new();
    writer.dict(|w| {
        for (name, value) in &entries {
            value.pickle(w.text(name));
        }
        if let Some(args) = args {
            w.text("args").object("argparse", "Namespace", |w| args.pickle(w));
        }
    });
    objects(&writer.finish())
}

fn run_of_lightning() -> Vec<(String, Python)> {
    let run: Map<String, Value> = serde_json::from_str(LIGHTNING).unwrap_or_default();
    run.iter().map(|(name, value)| (name.clone(), Python::from(value))).collect()
}

/// What a loader then asks for: Megatron-core goes by this, not by the keys.
fn content_metadata(flavor: Flavor, layers: LayerLayout) -> Python {
    let mut entries = Vec::new();
    if flavor != Flavor::Nemo {
        entries.push(("singleton_local_shards", false));
        entries.push(("chained_optim_avoid_prefix", true));
    }
    if layers == LayerLayout::PerLayer {
        entries.push(("non_homogeneous_layers", true));
    }
    let entries = entries.into_iter().map(|(name, value)| (name.into(), Python::Bool(value)));
    Python::Dict(entries.collect())
}

/// Megatron-Bridge's `train_state.pt`: a run that has not begun, in tensors of one number each.
pub(super) fn train_state() -> Vec<u8> {
    const INT: (&str, usize) = ("LongStorage", 8);
    const FLOAT: (&str, usize) = ("FloatStorage", 4);
    const BOOL: (&str, usize) = ("BoolStorage", 1);
    const STATE: [(&str, (&str, usize)); 8] = [
        ("step", INT),
        ("consumed_train_samples", INT),
        ("skipped_train_samples", INT),
        ("consumed_valid_samples", INT),
        ("floating_point_operations_so_far", FLOAT),
        ("do_train", BOOL),
        ("do_valid", BOOL),
        ("do_test", BOOL),
    ];
    let mut writer = Writer::new();
    writer.dict(|w| {
        for (number, (name, (class, _))) in STATE.iter().enumerate() {
            w.text(name).call("torch._utils", "_rebuild_tensor_v2", |args| {
                args.persistent(|id| {
                    id.tuple(|id| {
                        id.text("storage").global("torch", class).text(&number.to_string());
                        id.text("cpu").int(1);
                    });
                });
                args.int(0).tuple(|_| {}).tuple(|_| {}).bool(false);
                args.call("collections", "OrderedDict", |_| {});
            });
        }
    });
    // Nothing was done: all numbers are zero.
    let tensors: Vec<_> = STATE.iter().map(|(_, (_, bytes))| vec![0; *bytes]).collect();
    with_tensors(&writer.finish(), &tensors)
}

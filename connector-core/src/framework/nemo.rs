//! `context/io.json`: the objects from which NeMo 2 rebuilds a model (`nemo.lightning.io`), and
//! the directories that it expects beside it.
//!
//! It is what NeMo's importers write, made from data: the model with its config, optimizer and
//! tokenizer, and the trainer of an import. Fields that say how a run is spread over devices are
//! left to the run, and of the optimizer's only those are given that differ from its defaults.

use super::fiddle::{self, Call, Node};
use super::megatron_core::{LAYERS, Megatron};
use super::python::Python;
use super::{Frameworks, NemoNames, NemoValue};
use crate::checkpoint::Flavor;
use serde_json::Value;

/// Where the tokenizer is: what NeMo's importers call it, and its exporters look for.
pub(super) const TOKENIZER: &str = "nemo_tokenizer";
/// Where `generation_config.json` is.
pub(super) const ARTIFACTS: &str = "artifacts";
/// NeMo's tokenizers from files of transformers.
pub(super) const AUTO_TOKENIZER: &str =
    "nemo.collections.common.tokenizers.huggingface.auto_tokenizer.AutoTokenizer";

/// What is in the directory.
pub(super) struct Context {
    pub tokenizer: bool,
    pub generation_config: bool,
}

pub(super) fn write(frameworks: &Frameworks, model: &Megatron<'_>, context: &Context) -> Value {
    let optimizer = Call::new(
        "megatron.core.optimizer.optimizer_config.OptimizerConfig",
        vec![
            ("lr", Python::Float(1e-4).into()),
            ("use_distributed_optimizer", Python::Bool(true).into()),
        ],
    );
    let optimizer = Call::new(
        "nemo.lightning.pytorch.optim.megatron.MegatronOptimizerModule",
        vec![("config", optimizer.into())],
    );
    let mut parts = vec![("config", config(frameworks, model, context).into())];
    parts.push(("optim", optimizer.into()));
    if context.tokenizer {
        let place = vec![("pretrained_model_name", Python::text(TOKENIZER).into())];
        parts.push(("tokenizer", Call::new(AUTO_TOKENIZER, place).into()));
    }
    let NemoNames { module, model, .. } = frameworks.nemo;
    let model = Call::new(&format!("{module}.{model}"), parts);
    let context = vec![
        ("model", model.into()),
        ("trainer", trainer().into()),
        ("extra", Python::Dict(Vec::new()).into()),
    ];
    fiddle::write(&Call::new("nemo.lightning.io.pl.TrainerContext", context))
}

fn config(frameworks: &Frameworks, model: &Megatron<'_>, context: &Context) -> Call {
    let names = &frameworks.nemo;
    let mut fields: Vec<(_, Node)> = Vec::new();
    let own = frameworks.own_of(Flavor::Nemo).map_or(&[][..], |classes| classes.own);
    let all = model.fields(Flavor::Nemo, own);
    fields.extend(all.into_iter().map(|(name, v)| (name, v.into())));
    if let Some(args) = model.layer_spec(frameworks.own_of(Flavor::Nemo)) {
        let args = args.into_iter().map(|(name, on)| (name, Python::Bool(on).into())).collect();
        fields.push(("transformer_layer_spec", Call::partial(LAYERS, args).into()));
    }
    for &(name, value) in names.also {
        let value = match value {
            NemoValue::Is(value) => Python::Bool(value),
            NemoValue::Of(field) => model.python(field),
        };
        fields.push((name, value.into()));
    }
    let mut class = names.config;
    if let (Some(rope), Some(with_rope)) = (model.llama3_rope(), names.llama3_config) {
        class = with_rope;
        let names = ["scale_factor", "low_freq_factor", "high_freq_factor", "old_context_len"];
        fields.extend(names.map(|name| (name, rope.python(name).into())));
    }
    if context.generation_config {
        let class = "transformers.generation.configuration_utils.GenerationConfig";
        let args = vec![
            ("auto_cls", Python::name(class).into()),
            ("pretrained_model_name_or_path", Python::text(&format!("./{ARTIFACTS}")).into()),
        ];
        let call = Call::new("nemo.lightning.io.artifact.hf_auto.from_pretrained", args);
        fields.push(("generation_config", call.into()));
    }
    Call::new(&format!("{}.{class}", names.module), fields)
}

/// The trainer with which NeMo's importers save.
fn trainer() -> Call {
    let strategy = Call::new(
        "nemo.lightning.pytorch.strategies.megatron_strategy.MegatronStrategy",
        vec![
            ("ckpt_save_optimizer", Python::Bool(false).into()),
            (
                "kwargs",
                Python::Dict(vec![("always_save_context".into(), Python::Bool(true))]).into(),
            ),
        ],
    );
    Call::new(
        "nemo.lightning.pytorch.trainer.Trainer",
        vec![
            ("accelerator", Python::text("cpu").into()),
            ("strategy", strategy.into()),
            ("devices", Python::Int(1).into()),
        ],
    )
}

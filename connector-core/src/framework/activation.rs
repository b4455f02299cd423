//! Activations, by the name that PyTorch and transformers give them.

use crate::checkpoint::Flavor;

/// An activation, and what the frameworks call it.
pub(super) struct Activation {
    /// Its name in a model's config.
    name: &'static str,
    /// The function that NeMo's config names.
    nemo: &'static str,
    /// The function that Megatron-Bridge's config names.
    bridge: &'static str,
    /// The option of Megatron-LM's command line for a gated linear unit.
    gated: Option<&'static str>,
    /// That for a plain MLP. Without an option it is `gelu`.
    plain: Option<&'static str>,
    /// Other names that the function is known by.
    also: &'static [&'static str],
}

const ACTIVATIONS: [Activation; 5] = [
    Activation {
        name: "silu",
        nemo: "torch.nn.functional.silu",
        bridge: "torch.nn.functional.silu",
        gated: Some("swiglu"),
        plain: None,
        also: &[],
    },
    Activation {
        name: "gelu",
        nemo: "torch.nn.functional.gelu",
        bridge: "torch.nn.functional.gelu",
        gated: None,
        plain: Some("gelu"),
        // The function is built in, and its module another than the one it is known by.
        also: &["torch._C._nn.gelu"],
    },
    // The approximation with tanh.
    Activation {
        name: "gelu_pytorch_tanh",
        nemo: "nemo.collections.llm.fn.activation.openai_gelu",
        bridge: "megatron.core.activations.fast_gelu",
        gated: None,
        plain: Some("openai_gelu"),
        also: &["megatron.core.transformer.utils.openai_gelu"],
    },
    Activation {
        name: "quick_gelu",
        nemo: "nemo.collections.llm.fn.activation.quick_gelu",
        bridge: "megatron.core.activations.quick_gelu",
        gated: Some("quick_geglu"),
        plain: None,
        also: &["megatron.core.fusions.fused_bias_geglu.quick_gelu"],
    },
    Activation {
        name: "relu2",
        nemo: "nemo.collections.llm.fn.activation.squared_relu",
        bridge: "megatron.core.activations.squared_relu",
        gated: None,
        plain: Some("squared_relu"),
        also: &[],
    },
];

/// The options of Megatron-LM's command line that name activations.
pub(super) const OPTIONS: [&str; 4] = ["swiglu", "quick_geglu", "openai_gelu", "squared_relu"];

/// What a framework calls the activation of this name, of a gated linear unit or a plain MLP; `None`
/// if it cannot say it.
pub(super) fn written(name: &str, gated: bool, flavor: Flavor) -> Option<&'static str> {
    let known = ACTIVATIONS.iter().find(|known| known.name == name)?;
    match flavor {
        Flavor::Nemo => Some(known.nemo),
        Flavor::MegatronBridge => Some(known.bridge),
        Flavor::MegatronLm if gated => known.gated,
        Flavor::MegatronLm => known.plain,
    }
}

/// The path of the function that an option of Megatron-LM's command line stands for.
pub(super) fn of_option(option: &str) -> Option<&'static str> {
    let is = |known: &&Activation| known.gated == Some(option) || known.plain == Some(option);
    ACTIVATIONS.iter().find(is).map(|known| known.bridge)
}

/// The name of the activation that a framework's config gives as the path of a function.
pub(super) fn named(path: &str) -> Option<&'static str> {
    let is = |known: &&Activation| {
        [known.nemo, known.bridge].contains(&path) || known.also.contains(&path)
    };
    ACTIVATIONS.iter().find(is).map(|known| known.name)
}

/// All paths that are known, for a message.
pub(super) fn known() -> String {
    let mut paths: Vec<&str> = ACTIVATIONS.iter().flat_map(|a| [a.nemo, a.bridge]).collect();
    paths.dedup();
    paths.join(", ")
}

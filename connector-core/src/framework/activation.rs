//! Activations, by the name that PyTorch and transformers give them.

use crate::checkpoint::Flavor;

/// An activation of a gated linear unit, and what the frameworks call it.
pub(super) struct Activation {
    /// Its name in a model's config.
    name: &'static str,
    /// The function that NeMo's config names.
    nemo: &'static str,
    /// The function that Megatron-Bridge's config names.
    bridge: &'static str,
    /// The option of Megatron-LM's command line.
    option: Option<&'static str>,
    /// Other names that the function is known by.
    also: &'static [&'static str],
}

const ACTIVATIONS: [Activation; 3] = [
    Activation {
        name: "silu",
        nemo: "torch.nn.functional.silu",
        bridge: "torch.nn.functional.silu",
        option: Some("swiglu"),
        also: &[],
    },
    Activation {
        name: "gelu",
        nemo: "torch.nn.functional.gelu",
        bridge: "torch.nn.functional.gelu",
        option: None,
        // The function is built in, and its module another than the one it is known by.
        also: &["torch._C._nn.gelu"],
    },
    // The approximation with tanh.
    Activation {
        name: "gelu_pytorch_tanh",
        nemo: "nemo.collections.llm.fn.activation.openai_gelu",
        bridge: "megatron.core.activations.fast_gelu",
        option: None,
        also: &["megatron.core.transformer.utils.openai_gelu"],
    },
];

/// What a framework calls the activation of this name; `None` if it cannot say it.
pub(super) fn written(name: &str, flavor: Flavor) -> Option<&'static str> {
    let known = ACTIVATIONS.iter().find(|known| known.name == name)?;
    match flavor {
        Flavor::Nemo => Some(known.nemo),
        Flavor::MegatronBridge => Some(known.bridge),
        Flavor::MegatronLm => known.option,
    }
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

use crate::checkpoint::Flavor;
use crate::config::{Codec, Scalar};

/// What frameworks for training call a model: a connector's
/// [`FRAMEWORKS`](crate::ModelConnector::FRAMEWORKS).
///
/// From it and the model's config come the files that rebuild the model there, and by it a config
/// that a framework wrote is recognised. A field that a framework's class has no place for, an
/// embedding that is scaled say, is a warning of the import.
#[derive(Clone, Copy, Debug)]
pub struct Frameworks {
    /// NeMo's names, in `context/io.json`.
    pub nemo: NemoNames,
    /// Megatron-Bridge's, in `run_config.yaml`.
    pub bridge: BridgeNames,
    /// What NeMo's and Megatron-Bridge's own classes for this model do without a field that says so:
    /// fields of the model's config. Of Megatron-LM none does.
    pub implied: &'static [(&'static str, Scalar)],
    /// Fields that only those classes have.
    pub own: &'static [OwnField],
}

/// A field that of NeMo's and Megatron-Bridge's classes only those for one family have.
#[derive(Clone, Copy, Debug)]
pub struct OwnField {
    /// Its name there.
    pub name: &'static str,
    /// The field of the model's config that it says.
    pub model: &'static str,
    /// How its values are translated; `None` leaves them as they are. It is always written, as the
    /// class may have another default than Megatron-core.
    pub via: Option<Codec>,
}

/// What NeMo 2 calls a model.
#[derive(Clone, Copy, Debug)]
pub struct NemoNames {
    /// The module of its classes, `nemo.collections.llm.gpt.model.llama`.
    pub module: &'static str,
    /// The class of the model, `LlamaModel`.
    pub model: &'static str,
    /// The class of its config, `LlamaConfig`.
    pub config: &'static str,
    /// The class of its config if rotary frequencies are scaled as in Llama 3.1.
    pub llama3_config: Option<&'static str>,
    /// Fields that are of this class alone, and what its importer sets them to.
    pub also: &'static [(&'static str, NemoValue)],
}

impl NemoNames {
    /// NeMo's classes for whatever Megatron-core's `GPTModel` is.
    pub const GPT: Self = NemoNames {
        module: "nemo.collections.llm.gpt.model.base",
        model: "GPTModel",
        config: "GPTConfig",
        llama3_config: None,
        also: &[],
    };
}

/// What a field of NeMo is set to.
#[derive(Clone, Copy, Debug)]
pub enum NemoValue {
    /// The same for every model.
    Is(bool),
    /// The field of this name in the model's config.
    Of(&'static str),
}

/// What Megatron-Bridge calls a model.
#[derive(Clone, Copy, Debug)]
pub struct BridgeNames {
    /// The path of the class of provider that is written.
    pub provider: &'static str,
    /// The classes that are read as this model, without `ModelProvider` and what follows it:
    /// `Llama3` for `Llama3ModelProvider8B`. Releases of Megatron-Bridge name them differently.
    pub classes: &'static [&'static str],
}

impl BridgeNames {
    /// Megatron-Bridge's class for whatever Megatron-core's `GPTModel` is.
    pub const GPT: &'static str = "megatron.bridge.models.gpt_provider.GPTModelProvider";
}

impl BridgeNames {
    /// Whether the model has no class of its own there.
    pub(super) fn is_generic(&self) -> bool {
        self.provider == Self::GPT
    }
}

impl Frameworks {
    /// What is said of a family's own classes, if the framework that lays a checkpoint out so has any.
    pub(super) fn own_of(&self, flavor: Flavor) -> Option<&Self> {
        let has = match flavor {
            Flavor::Nemo => self.nemo.model != NemoNames::GPT.model,
            Flavor::MegatronBridge => !self.bridge.is_generic(),
            Flavor::MegatronLm => false,
        };
        has.then_some(self)
    }

    /// What the frameworks' own classes imply for a field of the model's config.
    pub(super) fn implies(&self, field: &str) -> Option<Scalar> {
        self.implied.iter().find(|(name, _)| *name == field).map(|(_, value)| *value)
    }
}

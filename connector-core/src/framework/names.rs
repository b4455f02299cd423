use crate::checkpoint::Flavor;
use crate::config::{Codec, Scalar};

/// What frameworks for training call a model: a connector's
/// [`FRAMEWORKS`](crate::ModelConnector::FRAMEWORKS).
///
/// From it and the model's config come the files that rebuild the model there, and by it a config
/// that a framework wrote is recognised. A model with a field that a framework's class has no place
/// for, an embedding that is scaled say, is imported for it only if the user accepts that ([`Unsaid`]).
///
/// [`Unsaid`]: super::Unsaid
///
/// ```
/// use connector_core::framework::Frameworks;
///
/// const QWEN3: Frameworks = Frameworks::GENERIC
///     .nemo("nemo.collections.llm.gpt.model.qwen3", "Qwen3Model", "Qwen3Config")
///     .bridge(&["Qwen3"]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Frameworks {
    pub(crate) nemo: NemoNames,
    pub(crate) bridge: BridgeNames,
    /// Fields of the model's config that the classes imply.
    pub(crate) implied: &'static [(&'static str, Scalar)],
    pub(crate) own: &'static [OwnField],
    /// Whether the classes make layers that differ.
    pub(crate) own_layers: bool,
    pub(crate) otherwise: &'static [Otherwise],
}

/// A field of a model's config that NeMo's and Megatron-Bridge's own classes for the model do not go
/// by.
#[derive(Clone, Copy, Debug)]
pub struct Otherwise {
    pub(crate) field: &'static str,
    pub(crate) there: &'static str,
    pub(crate) changes: &'static str,
}

impl Otherwise {
    /// The field `field`, in place of which the classes compute with `there`, which changes `changes`.
    pub const fn new(field: &'static str, there: &'static str, changes: &'static str) -> Self {
        Otherwise { field, there, changes }
    }
}

/// A field that of NeMo's and Megatron-Bridge's classes only those for one family have.
#[derive(Clone, Copy, Debug)]
pub struct OwnField {
    pub(crate) name: &'static str,
    pub(crate) model: &'static str,
    /// `None` leaves values as they are. It is always written, as the class may have another default
    /// than Megatron-core.
    pub(crate) via: Option<Codec>,
}

impl OwnField {
    /// The field `name` there, which says the field `model` of the model's config.
    pub const fn new(name: &'static str, model: &'static str) -> Self {
        OwnField { name, model, via: None }
    }

    /// Its values are translated so.
    #[must_use]
    pub const fn via(mut self, codec: Codec) -> Self {
        self.via = Some(codec);
        self
    }
}

/// What NeMo 2 calls a model, in `context/io.json`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NemoNames {
    /// The module of its classes.
    pub module: &'static str,
    pub model: &'static str,
    pub config: &'static str,
    /// The class of its config if rotary frequencies are scaled as in Llama 3.1.
    pub llama3_config: Option<&'static str>,
    /// Fields that are of this class alone, and what its importer sets them to.
    pub also: &'static [(&'static str, NemoValue)],
}

/// What a field of NeMo is set to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum NemoValue {
    /// The same for every model.
    Is(bool),
    /// The field of this name in the model's config.
    Of(&'static str),
}

/// What Megatron-Bridge calls a model, in `run_config.yaml`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BridgeNames {
    /// The path of the class of provider that is written.
    pub provider: &'static str,
    /// The classes that are read as this model.
    pub classes: &'static [&'static str],
}

impl BridgeNames {
    /// Megatron-Bridge's class for whatever Megatron-core's `GPTModel` is.
    const GPT: &'static str = "megatron.bridge.models.gpt_provider.GPTModelProvider";

    /// Whether the model has no class of its own there.
    pub fn is_generic(&self) -> bool {
        self.provider == Self::GPT
    }
}

impl Frameworks {
    /// The classes for whatever Megatron-core's `GPTModel` is: NeMo's `GPTModel`, Megatron-Bridge's
    /// `GPTModelProvider`. For a model that has no classes of its own there.
    pub const GENERIC: Frameworks = Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.base",
            model: "GPTModel",
            config: "GPTConfig",
            llama3_config: None,
            also: &[],
        },
        bridge: BridgeNames { provider: BridgeNames::GPT, classes: &[] },
        implied: &[],
        own: &[],
        own_layers: false,
        otherwise: &[],
    };

    /// NeMo's classes: their module, `nemo.collections.llm.gpt.model.llama`, the class of the model,
    /// `LlamaModel`, and that of its config, `LlamaConfig`.
    #[must_use]
    pub const fn nemo(
        mut self,
        module: &'static str,
        model: &'static str,
        config: &'static str,
    ) -> Self {
        self.nemo = NemoNames { module, model, config, ..self.nemo };
        self
    }

    /// NeMo's class of config where rotary frequencies are scaled as in Llama 3.1.
    #[must_use]
    pub const fn nemo_llama3_config(mut self, class: &'static str) -> Self {
        self.nemo.llama3_config = Some(class);
        self
    }

    /// Fields that NeMo's class alone has, and what its importer sets them to.
    #[must_use]
    pub const fn nemo_fields(mut self, fields: &'static [(&'static str, NemoValue)]) -> Self {
        self.nemo.also = fields;
        self
    }

    /// The classes of Megatron-Bridge that are read as this model, without `ModelProvider` and what
    /// follows it: `Llama3` for `Llama3ModelProvider8B`. Its releases name them differently.
    #[must_use]
    pub const fn bridge(mut self, classes: &'static [&'static str]) -> Self {
        self.bridge.classes = classes;
        self
    }

    /// The path of the provider that is written for Megatron-Bridge, where its generic one does not
    /// do.
    #[must_use]
    pub const fn bridge_provider(mut self, path: &'static str) -> Self {
        self.bridge.provider = path;
        self
    }

    /// What NeMo's and Megatron-Bridge's own classes for this model do without a field that says so:
    /// fields of the model's config. Of Megatron-LM none does.
    #[must_use]
    pub const fn implied(mut self, fields: &'static [(&'static str, Scalar)]) -> Self {
        self.implied = fields;
        self
    }

    /// Fields that only NeMo's and Megatron-Bridge's own classes for this model have.
    #[must_use]
    pub const fn own_fields(mut self, fields: &'static [OwnField]) -> Self {
        self.own = fields;
        self
    }

    /// NeMo's and Megatron-Bridge's own classes for this model make layers that differ, dense ones and
    /// mixtures of experts. All others are told to.
    #[must_use]
    pub const fn own_layers(mut self) -> Self {
        self.own_layers = true;
        self
    }

    /// Fields that NeMo's and Megatron-Bridge's own classes for this model do not go by, so that the
    /// user has to accept what they compute.
    #[must_use]
    pub const fn otherwise(mut self, fields: &'static [Otherwise]) -> Self {
        self.otherwise = fields;
        self
    }

    /// What is said of a family's own classes, if the framework that lays a checkpoint out so has any.
    pub(super) fn own_of(&self, flavor: Flavor) -> Option<&Self> {
        let has = match flavor {
            Flavor::Nemo => self.nemo.model != Self::GENERIC.nemo.model,
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

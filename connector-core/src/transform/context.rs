use super::Tensor;
use crate::key::Captures;
use crate::schema::Instance;
use serde_json::Value;
use std::any::Any;
use std::sync::Arc;

/// A config as a state transform sees it: fields by name, or the whole typed value.
#[derive(Clone, Default)]
pub struct Config {
    fields: Value,
    typed: Option<Arc<dyn Any + Send + Sync>>,
}

impl Config {
    /// A config that is only known as JSON: the other side's.
    pub fn from_json(fields: Value) -> Self {
        Config { fields, typed: None }
    }

    /// A model's config.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn from_model<C: crate::schema::ModelConfig>(config: &C) -> serde_json::Result<Self> {
        let fields = serde_json::to_value(config)?;
        Ok(Config { fields, typed: Some(Arc::new(config.clone())) })
    }

    /// All fields.
    pub fn json(&self) -> &Value {
        &self.fields
    }

    /// A whole number, `None` if the field is absent or something else.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field)?.as_u64()
    }

    /// The typed config, if it is a `C`.
    pub fn downcast<C: 'static>(&self) -> Option<&C> {
        self.typed.as_deref()?.downcast_ref()
    }
}

/// The whole numbers of a model by name: what operations need to know beside shapes.
#[derive(Clone, Copy)]
pub struct Numbers<'a> {
    model: &'a Config,
    instance: Option<(&'a dyn Instance, &'a [usize])>,
}

impl<'a> Numbers<'a> {
    /// The numbers of a model's config and, for a model with a schema, of its fields at some
    /// indices.
    pub fn new(model: &'a Config, instance: Option<(&'a dyn Instance, &'a [usize])>) -> Self {
        Numbers { model, instance }
    }

    /// The number called `name`: a field of the schema, which may differ from layer to layer, or
    /// else a field of the config.
    pub fn get(&self, name: &str) -> Option<usize> {
        let declared = self.instance.and_then(|(instance, at)| {
            let field = instance.schema().fields.iter().position(|field| *field == name)?;
            Some(instance.field(field, at))
        });
        declared.or_else(|| self.model.number(name))?.try_into().ok()
    }
}

/// What a state transform may ask: the configs of both sides, which layer it is at, the device,
/// other tensors.
///
/// NeMo's `TransformCTX`; its `ctx.target.config` is [`target`](Self::target) here.
pub struct TransformCtx<'a> {
    pub(crate) numbers: Numbers<'a>,
    pub(crate) format: &'a Config,
    pub(crate) captures: &'a Captures<'a>,
    pub(crate) export: bool,
    pub(crate) read: &'a ReadTensor<'a>,
    #[cfg(feature = "candle")]
    pub(crate) device: &'a candle_core::Device,
}

/// Reads a source tensor by its key, for [`TransformCtx::read`].
pub(crate) type ReadTensor<'a> = dyn Fn(&str) -> Result<Tensor, super::BoxError> + 'a;

impl TransformCtx<'_> {
    /// The config of the Megatron/NeMo side, whichever way the conversion goes.
    pub fn model(&self) -> &Config {
        self.numbers.model
    }

    /// The config of the other side, `config.json`, whichever way the conversion goes.
    pub fn format(&self) -> &Config {
        self.format
    }

    /// The config of what is read: the format's on import, the model's on export.
    pub fn source(&self) -> &Config {
        if self.export { self.numbers.model } else { self.format }
    }

    /// The config of what is written: the model's on import, the format's on export.
    pub fn target(&self) -> &Config {
        if self.export { self.format } else { self.numbers.model }
    }

    /// What the rule's patterns captured: `{layer} = 3`.
    pub fn captures(&self) -> &Captures<'_> {
        self.captures
    }

    /// The captured index called `name`.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.captures.index(name).and_then(|index| index.try_into().ok())
    }

    /// The whole numbers of the model, as built-in operations take them.
    pub fn numbers(&self) -> &Numbers<'_> {
        &self.numbers
    }

    /// A whole number of the model by name: a field of its schema, which may differ from layer to
    /// layer, or else a field of its config.
    pub fn number(&self, field: &str) -> Option<usize> {
        self.numbers.get(field)
    }

    /// The device on which tensors are given and expected.
    #[cfg(feature = "candle")]
    pub fn device(&self) -> &candle_core::Device {
        self.device
    }

    /// Another source tensor, one of those that the rule lists as `reads`.
    ///
    /// # Errors
    /// If the rule does not list it, or it cannot be read.
    pub fn read(&self, key: &str) -> Result<Tensor, super::BoxError> {
        (self.read)(key)
    }
}

//! The plan that leaves every tensor its name: to compare two checkpoints of one kind, or to store
//! one in another container.

use crate::engine::Context;
use crate::mapping::{FlatMapping, Mapping};
use crate::plan::{Plan, PlanOptions, Request};
use crate::store::TensorInfo;
use crate::transform::Config;
use crate::{Error, Result, mapping};
use serde_json::Value;

/// Every tensor under its own name.
const SAME_NAMES: Mapping = mapping! { "**" => "**" };

/// A plan without a model.
pub(super) struct SameNames {
    nothing: Config,
    #[cfg(feature = "candle")]
    device: candle_core::Device,
}

impl SameNames {
    pub fn new() -> Result<Self> {
        Ok(SameNames {
            nothing: Config::from_json(Value::Null),
            #[cfg(feature = "candle")]
            device: crate::DeviceChoice::default().open()?,
        })
    }

    /// The plan for these tensors.
    pub fn plan(&self, tensors: &[TensorInfo]) -> Result<Plan> {
        let options = PlanOptions::default();
        Plan::new(&Request {
            mapping: &FlatMapping::new(&SAME_NAMES, &[]),
            instance: None,
            model: &self.nothing,
            format: &self.nothing,
            tensors,
            options: &options,
        })
        .map_err(Error::refused)
    }

    /// What functions may ask; there are none.
    pub fn context(&self) -> Context<'_> {
        Context {
            model: &self.nothing,
            format: &self.nothing,
            instance: None,
            export: false,
            #[cfg(feature = "candle")]
            device: &self.device,
        }
    }
}

//! A conversion whose result stays in memory.

use super::Planned;
use crate::base::parallel;
use crate::connector::checked;
use crate::engine::NotZero;
use crate::{Error, Result, Tensor, engine};
use std::collections::BTreeMap;

impl Planned {
    /// Converts into memory: the tensors by name, on the device of the options, each of the type that
    /// the plan gives it. One step after the other is read, so that of the source no more is in memory
    /// than that.
    ///
    /// # Errors
    /// [`Function`](crate::engine::Error::Function) where a function fails; [`Error::Refused`]
    /// if tensors differ that must be equal, or candle has not the type of one;
    /// [`Damaged`](crate::checkpoint::Error::Damaged); [`Io`](crate::store::Error::Io).
    pub fn in_memory(&self) -> Result<BTreeMap<String, Tensor>> {
        let (plan, source, context) = (self.plan(), self.source(), self.context());
        for (number, lost) in self.check_values()? {
            let NotZero { dropped, not_zero, .. } = lost;
            let tensor = &source.tensors()[plan.dropped[number].tensor].name;
            tracing::warn!(
                tensor,
                dropped,
                not_zero,
                "rows of padding that are not zero stay behind"
            );
        }
        let made = checked(source, (parallel::cores(), self.cancel()), |source| {
            let fetch = |input| {
                self.cancel().check()?;
                engine::read_input(source, input, context.device)
            };
            Ok(engine::run_in_memory(plan, source.tensors(), &fetch, &context)?)
        });
        let mut made = made.map_err(self.named())?;
        for output in &plan.outputs {
            let Some(dtype) = engine::to_candle_dtype(output.dtype) else { continue };
            if let Some(tensor) = made.get_mut(&output.name) {
                *tensor = tensor.to_dtype(dtype).map_err(Error::candle)?;
            }
        }
        source.check_unchanged()?;
        Ok(made)
    }
}

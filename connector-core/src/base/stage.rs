//! The stages of a conversion, as spans of `tracing`: where time goes.
//!
//! Their target is [`TARGET`]; `connector --timings` adds them up. A subscriber that does not ask
//! for them pays nothing.

/// The target of the spans.
pub(crate) const TARGET: &str = "connector_core::stage";

/// Begins a stage, which ends with the scope.
macro_rules! stage {
    ($name:literal) => {
        let _stage = tracing::trace_span!(target: crate::base::stage::TARGET, $name).entered();
    };
}

pub(crate) use stage;

//! Panics as errors.

#[cfg(feature = "candle")]
mod quiet;

#[cfg(feature = "candle")]
pub(crate) use quiet::catch_quietly;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does `run`, a connector's own code, whose mistakes (a division by a missing number, a shape that
/// overflows) are errors and not the end of the program. `Err` has the text of its panic, which is
/// printed too: its author wants to see where it was.
///
/// In a program built with `panic = "abort"` a panic is the end of it.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

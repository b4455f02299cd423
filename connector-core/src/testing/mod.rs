//! For the tests of crates that register connectors.

mod config;
#[cfg(feature = "candle")]
mod elements;
#[cfg(feature = "candle")]
mod landed;
#[cfg(feature = "candle")]
mod lossless;

#[cfg(feature = "candle")]
mod shown;

pub use config::{ConfigProof, prove_config};
#[cfg(feature = "candle")]
pub use lossless::{prove_import, prove_lossless};
#[cfg(feature = "candle")]
pub use shown::{Exempt, Lossless, Origin};

use crate::Result;
use crate::connector::Registry;

/// Checks that no two of the linked connectors claim the same model and format, or the same
/// architecture.
///
/// ```
/// connector_core::testing::assert_registry()?;
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Registry`](crate::Error::Registry), with both places of each conflict.
pub fn assert_registry() -> Result<()> {
    Registry::get().map(|_| ())
}

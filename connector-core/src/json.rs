//! JSON as it is written into files.

use crate::{Error, Result};
use serde::Serialize;

/// `value` on lines, indented by two spaces, the last one ended: as Hugging Face writes its configs.
///
/// # Errors
/// [`Error::ModelConfig`] if it is nothing that JSON can say.
pub(crate) fn pretty(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::ModelConfig { reason: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

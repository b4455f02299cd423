//! Outputs that are made elsewhere than by a step of the plan.

use super::cast::Tally;
use super::whole::write_part;
use super::{Done, Job};
use crate::engine::Result;

/// Writes `bytes` as output number `output`, cast as the plan says.
///
/// # Errors
/// [`Error::Io`](crate::store::Error::Io), [`Error::Cancelled`](crate::engine::Error::Cancelled).
pub(crate) fn put(job: &Job<'_>, output: usize, bytes: &[u8]) -> Result<Done> {
    let tally = Tally::new(job.plan.outputs.len());
    write_part(job, output, 0, bytes, &tally)?;
    Ok(Done { losses: tally.losses() })
}

use crate::base::stage::stage;
use crate::checkpoint::Checking;
use crate::store::Source;
use crate::{Cancel, Error, Result, engine};

/// Does `work` with the source, and passes if what it read is what was written, by the checksums of
/// the source. What damaged bytes made it refuse is not told.
///
/// # Errors
/// Those of `work`; [`Damaged`](crate::checkpoint::Error::Damaged) with every record that is
/// not what was written, and what keeps the records from being read.
pub(crate) fn checked<T>(
    source: &dyn Source,
    (threads, cancel): (usize, &Cancel),
    work: impl FnOnce(&dyn Source) -> Result<T>,
) -> Result<T> {
    let Some(checking) = Checking::around(source) else { return work(source) };
    let done = work(&checking);
    if let Ok(_) | Err(Error::Refused(_) | Error::Engine(engine::Error::Function { .. })) = done {
        stage!("checksums");
        checking.finish(threads, cancel)?;
    }
    done
}

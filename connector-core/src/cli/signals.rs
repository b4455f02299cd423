use crate::Cancel;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Makes the first Ctrl-C (or `kill`) a request to stop and clean up, and a second one the end.
///
/// # Errors
/// If the system refuses a handler.
pub(super) fn watch(cancel: &Cancel) -> io::Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order in which they were set: at the first signal this one finds
        // nothing and the last one arms it.
        flag::register_conditional_default(signal, Arc::clone(&again))?;
        flag::register_usize(signal, cancel.flag(), signal.unsigned_abs() as usize)?;
        flag::register(signal, Arc::clone(&again))?;
    }
    Ok(())
}

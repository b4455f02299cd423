use crate::Cancel;
#[cfg(unix)]
use signal_hook::consts::SIGHUP;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The signals that ask to stop; the last is a terminal that closes.
#[cfg(unix)]
const SIGNALS: &[i32] = &[SIGINT, SIGTERM, SIGHUP];
#[cfg(not(unix))]
const SIGNALS: &[i32] = &[SIGINT, SIGTERM];

/// Makes the first Ctrl-C (or `kill`) a request to stop and clean up, and a second one the end.
///
/// # Errors
/// If the system refuses a handler.
pub(super) fn watch(cancel: &Cancel) -> io::Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    for &signal in SIGNALS {
        // Handlers run in the order in which they were set: at the first signal this one finds
        // nothing and the last one arms it.
        flag::register_conditional_default(signal, Arc::clone(&again))?;
        flag::register_usize(signal, cancel.flag(), signal.unsigned_abs() as usize)?;
        flag::register(signal, Arc::clone(&again))?;
    }
    Ok(())
}

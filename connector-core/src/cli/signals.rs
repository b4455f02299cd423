use crate::Cancel;
#[cfg(unix)]
use signal_hook::consts::{SIGHUP, SIGXFSZ};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::unregister;
use signal_hook::{SigId, flag};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::{io, mem};

/// The signals that ask to stop; the last is a terminal that closes.
#[cfg(unix)]
const SIGNALS: &[i32] = &[SIGINT, SIGTERM, SIGHUP];
#[cfg(not(unix))]
const SIGNALS: &[i32] = &[SIGINT, SIGTERM];

/// Whether the next signal is the end: the second one, or where nobody watches.
static IS_THE_END: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Makes the first Ctrl-C (or `kill`) a request to stop and clean up, and a second one the end.
///
/// # Errors
/// If the system refuses a handler.
pub(super) fn watch(cancel: &Cancel) -> io::Result<()> {
    watch_for_now(cancel).map(mem::forget)
}

/// As [`watch`], until the value is gone.
///
/// # Errors
/// If the system refuses a handler.
pub(super) fn watch_for_now(cancel: &Cancel) -> io::Result<Watch> {
    IS_THE_END.store(false, Ordering::Relaxed);
    let mut watch = Watch(Vec::new());
    for &signal in SIGNALS {
        // Handlers run in the order in which they were set: at the first signal this one finds
        // nothing and the last one arms it. It outlives the watch, for a signal without any handler
        // of ours would do nothing.
        flag::register_conditional_default(signal, Arc::clone(&IS_THE_END))?;
        let number = signal.unsigned_abs() as usize;
        watch.0.push(flag::register_usize(signal, cancel.flag(), number)?);
        watch.0.push(flag::register(signal, Arc::clone(&IS_THE_END))?);
    }
    Ok(watch)
}

/// What makes signals a request.
pub(super) struct Watch(Vec<SigId>);

impl Drop for Watch {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            unregister(id);
        }
        IS_THE_END.store(true, Ordering::Relaxed);
    }
}

/// Makes a write past the largest file that the process may write (`ulimit -f`) an error, as a full
/// disk is. Without a handler the system ends the process.
///
/// # Errors
/// If the system refuses a handler.
#[cfg(unix)]
pub(super) fn outlive_file_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(super) fn outlive_file_limit() -> io::Result<()> {
    Ok(())
}

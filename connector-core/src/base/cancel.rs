use super::Cancelled;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What [`Cancel::cancel`] stores: no signal has this number.
const REQUESTED: usize = usize::MAX;

/// A request to stop, shared by all threads of a run; clones are handles to the same request.
///
/// It holds a number: 0 as long as nobody asked, otherwise the signal that did. A signal handler
/// may store it, for example with `signal-hook`:
///
/// ```
/// use connector_core::Cancel;
/// use std::sync::atomic::Ordering;
///
/// let cancel = Cancel::default();
/// // signal_hook::flag::register_usize(SIGINT, cancel.flag(), SIGINT as usize)?;
/// cancel.flag().store(2, Ordering::Relaxed);
/// assert!(cancel.is_cancelled());
/// assert_eq!(cancel.signal(), Some(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicUsize>);

impl Cancel {
    /// Asks to stop, without a signal. A signal that came before stays on record.
    pub fn cancel(&self) {
        // A failed exchange means that someone else asked first.
        let _ = self.0.compare_exchange(0, REQUESTED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether someone asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The signal that asked to stop, if it was one.
    pub fn signal(&self) -> Option<i32> {
        i32::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|&signal| signal != 0)
    }

    /// The number itself, for a signal handler to store the signal in.
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0)
    }

    /// Passes as long as nobody asked to stop.
    ///
    /// # Errors
    /// [`Cancelled`] afterwards.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}

/// Shares a number that a signal handler stores in: 0, or the signal.
impl From<Arc<AtomicUsize>> for Cancel {
    fn from(flag: Arc<AtomicUsize>) -> Self {
        Cancel(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_request() {
        let cancel = Cancel::default();
        let clone = cancel.clone();
        assert!(!clone.is_cancelled() && clone.check().is_ok());
        cancel.cancel();
        assert!(clone.is_cancelled());
        assert!(matches!(clone.check(), Err(Cancelled)));
        assert_eq!(clone.signal(), None);
    }

    #[test]
    fn the_signal_is_kept() {
        let flag = Arc::new(AtomicUsize::new(0));
        let cancel = Cancel::from(Arc::clone(&flag));
        assert_eq!(cancel.signal(), None);
        flag.store(15, Ordering::Relaxed);
        cancel.cancel();
        assert_eq!(cancel.signal(), Some(15));
    }
}

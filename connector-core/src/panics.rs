//! Panics of crates that take strangers' files, as errors.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does `run`; `Err` has the text of its panic, which is not printed.
///
/// In a program built with `panic = "abort"` a panic is the end of it, and is printed.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if cfg!(panic = "abort") || !CAUGHT.get() {
                others(info);
            }
        }));
    });
    let before = CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CAUGHT.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_text() {
        assert_eq!(catch(|| 7), Ok(7));
        let number = std::hint::black_box(3);
        assert_eq!(catch(|| panic!("no {number}")), Err::<(), _>("no 3".into()));
        assert_eq!(catch(|| panic!("none")), Err::<(), _>("none".into()));
        assert_eq!(catch(|| catch(|| panic!("inner"))), Ok(Err::<(), _>("inner".into())));
        assert!(!CAUGHT.get());
    }
}

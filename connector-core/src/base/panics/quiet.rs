use super::catch;
use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does `run`, the code of a crate that a stranger's file makes panic; `Err` has the text of its
/// panic, which is not printed.
///
/// In a program built with `panic = "abort"` a panic is the end of it, and is printed.
pub(crate) fn catch_quietly<T>(run: impl FnOnce() -> T) -> Result<T, String> {
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
    let result = catch(run);
    CAUGHT.set(before);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_text() {
        assert_eq!(catch_quietly(|| 7), Ok(7));
        let number = std::hint::black_box(3);
        assert_eq!(catch_quietly(|| panic!("no {number}")), Err::<(), _>("no 3".into()));
        assert_eq!(catch_quietly(|| panic!("none")), Err::<(), _>("none".into()));
        let inner = catch_quietly(|| catch_quietly(|| panic!("inner")));
        assert_eq!(inner, Ok(Err::<(), _>("inner".into())));
        assert!(!CAUGHT.get());
    }
}

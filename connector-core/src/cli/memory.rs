//! The memory of this process, and what a plan says that it will be.

use super::text;
use crate::engine::Bound;
use libmimalloc_sys::{
    mi_option_eager_commit_delay, mi_option_set_default, mi_option_t, mi_option_use_numa_nodes,
};

/// mimalloc's option for how many milliseconds it keeps what is free, which its crate does not name.
const PURGE_DELAY: mi_option_t = mi_option_eager_commit_delay + 1;
const _: () = assert!(PURGE_DELAY == mi_option_use_numa_nodes - 1);

/// The bound of a conversion, and the limit that was set, in words.
pub(super) fn bound(bound: &Bound, limit: &impl std::fmt::Display) -> String {
    let [total, pool, tables] = [bound.total(), bound.pool, bound.tables].map(text::bytes);
    format!(
        "at most {total} beside the program (--max-memory {limit}): {pool} of buffers, {tables} of tables"
    )
}

/// Makes mimalloc give memory back to the system as soon as it is free, unless its variables say
/// otherwise: so a function's peak is what its step takes, and not also what the steps before it took,
/// if they were quick. No effect on another allocator. Call it before there are other threads.
pub(super) fn give_back_at_once() {
    // SAFETY: mimalloc sets a number, which it reads whenever it frees; no other thread does yet.
    unsafe { mi_option_set_default(PURGE_DELAY, 0) };
}

/// The most memory that this process has had at once, in bytes, if the system says.
#[cfg(target_os = "linux")]
pub(super) fn peak() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The most memory that this process has had at once, in bytes, if the system says.
#[cfg(not(target_os = "linux"))]
pub(super) fn peak() -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", test))]
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: mimalloc reads a number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        let asked_for = ["MIMALLOC_PURGE_DELAY", "MIMALLOC_RESET_DELAY"];
        if asked_for.iter().any(|name| std::env::var_os(name).is_some()) {
            return;
        }
        // None of the options beside it has this default.
        assert_eq!(delay(), 10);
        give_back_at_once();
        assert_eq!(delay(), 0);
    }

    #[test]
    fn the_status_is_read() {
        for (status, want) in [
            ("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n", Some(2 << 20)),
            ("VmHWM:\t2048", None),
            ("VmHWM:\tmuch kB", None),
            ("", None),
        ] {
            assert_eq!(parse(status), want, "{status}");
        }
    }
}

//! What all targets have in common: a limit of memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[doc(hidden)]
pub use {connector_core::__fuzzing as targets, libfuzzer_sys};

/// A target that calls the function of this name, within [`bounded`] memory.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::bounded(bytes, $crate::targets::$name)
        });
    };
}

/// How many bytes may be allocated at once for one byte of input.
const PER_BYTE: usize = 4;
/// How many more, whatever the input.
const BESIDE: usize = 64 << 20;

/// Runs a target; it is a crash if more is allocated meanwhile than `bytes` may cost.
pub fn bounded(bytes: &[u8], target: impl FnOnce(&[u8])) {
    let before = NOW.load(Ordering::Relaxed);
    LIMIT.store(before + BESIDE + PER_BYTE * bytes.len(), Ordering::Relaxed);
    target(bytes);
    LIMIT.store(usize::MAX, Ordering::Relaxed);
}

static NOW: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The system's allocator, counted, with a limit.
struct Limited;

impl Limited {
    fn take(&self, bytes: usize) {
        let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if now > LIMIT.load(Ordering::Relaxed) {
            // Only once: what follows allocates too.
            LIMIT.store(usize::MAX, Ordering::Relaxed);
            eprintln!("allocates {bytes} bytes, which makes {now} bytes at once: over the limit");
            std::process::abort();
        }
    }
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.take(size.saturating_sub(layout.size()));
        NOW.fetch_sub(layout.size().saturating_sub(size), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

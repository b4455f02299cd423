//! Memory as a machine of one's own has it.
//!
//! A virtual machine may give memory that is free back to its host (Linux: free page reporting),
//! and then waits for the host at the first touch, for up to a second per gigabyte. Which of two
//! programs runs into it depends on what ran before: pages that `cp` has freed are kept for the
//! next `cp`, larger ones are given back. So all free memory is touched before a run.

use std::io;

/// What is left untouched, so that nothing is pushed out of the system's cache.
const LEFT: usize = 3 << 29;

/// Touches what memory is free. A program of its own has to, which frees it by its end.
pub fn touch() -> io::Result<()> {
    let free = free()?.saturating_sub(LEFT);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| touch_bytes(free / threads))).collect();
        let failed = |_| Err(io::Error::other("a thread that touches memory has panicked"));
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(failed))
    })
}

/// The bytes that no program and no cache has; 0 where the system does not say.
fn free() -> io::Result<usize> {
    if cfg!(not(target_os = "linux")) {
        return Ok(0);
    }
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    Ok(kib.unwrap_or(0) << 10)
}

#[cfg(target_os = "linux")]
fn touch_bytes(len: usize) -> io::Result<()> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
    const PAGE: usize = 4096;
    if len == 0 {
        return Ok(());
    }
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, which nothing else knows, for as long as the process lives.
    let start: *mut u8 = unsafe {
        let start = mmap_anonymous(std::ptr::null_mut(), len, access, MapFlags::PRIVATE)?;
        // Small pages take four times as long.
        madvise(start, len, Advice::LinuxHugepage)?;
        start.cast()
    };
    for at in (0..len).step_by(PAGE) {
        // SAFETY: inside of the mapping.
        unsafe { start.add(at).write_volatile(1) };
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn touch_bytes(_: usize) -> io::Result<()> {
    Ok(())
}

//! Work that is cut into pieces, done by a few threads, or by this one alone where the system gives
//! no others (`ulimit -u`, a container's limit of processes).

use super::WorkerPanicked;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Starts `work` on another thread; `None` where the system gives none.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new().spawn_scoped(scope, work);
    started.inspect_err(|error| tracing::debug!(%error, "no other thread could be started")).ok()
}

/// Whether the system gives another thread: for crates that panic where it does not.
#[cfg(feature = "cli")]
pub(crate) fn can_spawn() -> bool {
    Builder::new().spawn(|| ()).is_ok()
}

/// Starts the threads of rayon, on which candle and the tokenizers compute. It panics where the system
/// gives none; this thread then does its work.
#[cfg(feature = "candle")]
pub(crate) fn start_rayon() {
    use rayon::ThreadPoolBuilder;
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| {
        // It starts them once in the life of a process, at the first need: tried out beside it.
        if ThreadPoolBuilder::new().build().is_err() {
            let alone = ThreadPoolBuilder::new().num_threads(1).use_current_thread();
            // It fails where somebody else has started them, as is right.
            drop(alone.build_global());
        }
    });
}

/// The results of `work` for each number below `count`, in order, done on `threads` threads. A panic
/// of one of them is raised here.
pub(crate) fn map<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let done = in_parallel(threads, count, |number| Ok::<_, WorkerPanicked>(work(number)));
    // The only error is a panic elsewhere; done again here, it is ours.
    done.unwrap_or_else(|_| (0..count).map(work).collect())
}

/// The same for work that is short, on [`cores`] threads: each takes many numbers at once.
pub(crate) fn each<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    ranges(count, |range| range.map(&work).collect())
}

/// What `work` gives for the numbers below `count`, a range of them at a time, one behind the other.
pub(crate) fn ranges<T: Send>(
    count: usize,
    work: impl Fn(Range<usize>) -> Vec<T> + Sync,
) -> Vec<T> {
    const AT_ONCE: usize = 1024;
    let parts = map(cores(), count.div_ceil(AT_ONCE), |part| {
        let first = part * AT_ONCE;
        work(first..count.min(first + AT_ONCE))
    });
    let mut all = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    parts.into_iter().for_each(|part| all.extend(part));
    all
}

/// The results of two pieces of work, of which another thread does the first. Its panic is raised
/// here.
pub(crate) fn both<A: Send, B>(first: impl Fn() -> A + Sync, second: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let elsewhere = spawn(scope, &first);
        let second = second();
        let first = match elsewhere {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => first(),
        };
        (first, second)
    })
}

/// How many threads to compute on: more than a few gain nothing, since all of them allocate.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// Does `work` for each number below `count`, on `threads` threads, and gives its results in order.
///
/// # Errors
/// That of the piece with the lowest number; the others stop soon.
pub(crate) fn in_parallel<T: Send, E: Send + From<WorkerPanicked>>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let result = work(number);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((number, result));
        }
        done
    };
    let mut all = std::thread::scope(|scope| -> Result<_, WorkerPanicked> {
        let others = threads.clamp(1, count.max(1)) - 1;
        let others: Vec<_> = (0..others).map_while(|_| spawn(scope, worker)).collect();
        let mut all = worker();
        for other in others {
            all.extend(other.join().map_err(|_| WorkerPanicked)?);
        }
        Ok(all)
    })?;
    all.sort_unstable_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Failed(usize);

    impl From<WorkerPanicked> for Failed {
        fn from(_: WorkerPanicked) -> Self {
            Failed(0)
        }
    }

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [0, 1, 3, 100] {
            let squares = in_parallel(threads, 50, |n| Ok::<_, WorkerPanicked>(n * n)).unwrap();
            assert_eq!(squares, (0..50).map(|n| n * n).collect::<Vec<_>>());
        }
        assert!(in_parallel(4, 0, |_| Ok::<_, WorkerPanicked>(())).unwrap().is_empty());
    }

    #[test]
    fn an_error_ends_it() {
        let done = AtomicUsize::new(0);
        let result = in_parallel(1, 50, |n| {
            done.fetch_add(1, Ordering::Relaxed);
            if n == 7 { Err(Failed(7)) } else { Ok(()) }
        });
        assert_eq!(result, Err(Failed(7)));
        assert_eq!(done.into_inner(), 8);
    }

    #[test]
    fn a_panic_of_another_thread_is_an_error() {
        let here = std::thread::current().id();
        let result = in_parallel(2, 50, |_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            assert_eq!(std::thread::current().id(), here, "elsewhere");
            Ok(())
        });
        assert_eq!(result, Err(WorkerPanicked));
    }
}

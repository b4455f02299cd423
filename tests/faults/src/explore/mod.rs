//! Several commands on one output at the same time, in every order of their system calls.
//!
//! A *play* has a few actors: commands that write, replace or remove the same output. All of them
//! are held before each call on a name that they share, and one is let go on at a time, so that an
//! order of calls can be chosen and played again. An actor goes on until it ends, unless a *turn*
//! comes: another goes on in its place, or it is killed. All orders with at most so many turns are
//! played; most mistakes of concurrent programs need one or two (Musuvathi and Qadeer, "Iterative
//! context bounding for systematic testing of multithreaded programs", PLDI 2007).
//!
//! What is explored is the program itself, not a model of it. A play may lack calls of the system:
//! a file system without locks, or one that cannot exchange two names.

mod order;
mod plays;
mod stage;

pub use order::{Order, Turn};
pub use plays::{PLAYS, Play, find};

use order::Played;
use stage::Stage;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What came of a play.
#[derive(Debug, Default)]
pub struct Explored {
    /// How many orders were played.
    pub orders: usize,
    /// In how many of them an actor was killed.
    pub kills: usize,
    /// What should not have happened, and in which order.
    pub violations: Vec<(Order, Vec<String>)>,
}

/// Plays a play in every order with at most `turns` turns; of those with the last turn, each
/// `every`-th.
///
/// # Errors
/// If the play cannot be prepared, or the system refuses what a tracer does.
pub fn explore(
    play: &'static Play,
    program: &Path,
    turns: usize,
    every: usize,
    threads: usize,
) -> io::Result<Explored> {
    let open = Mutex::new(vec![Order::default()]);
    let (busy, number) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let explored = Mutex::new(Explored::default());
    let work = || -> io::Result<()> {
        let stage = Stage::new(play, program)?;
        loop {
            let next = {
                let mut open = open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let next = open.pop();
                busy.fetch_add(usize::from(next.is_some()), Ordering::SeqCst);
                next
            };
            let Some(order) = next else {
                // Another thread may be about to find more.
                if busy.load(Ordering::SeqCst) == 0 {
                    return Ok(());
                }
                thread::yield_now();
                continue;
            };
            let played = stage.play(&order);
            if let Ok(Played { decisions, .. }) = &played
                && order.turns().len() < turns
            {
                let is_last = order.turns().len() + 1 == turns;
                let mut next = order.continued(decisions);
                next.retain(|_| {
                    !is_last || number.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
                });
                open.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(next);
            }
            busy.fetch_sub(1, Ordering::SeqCst);
            let played = played?;
            let mut explored = explored.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            explored.orders += 1;
            explored.kills += usize::from(order.kills());
            if !played.wrong.is_empty() {
                explored.violations.push((order, played.wrong));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    })?;
    Ok(explored.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Plays one order, and says what was wrong with it.
///
/// # Errors
/// As [`explore`].
pub fn replay(play: &'static Play, program: &Path, order: &Order) -> io::Result<Vec<String>> {
    Ok(Stage::new(play, program)?.play(order)?.wrong)
}

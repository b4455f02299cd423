//! Runs cases with faults.

use crate::cases::Case;
use crate::inject::{self, Fault};
use crate::judge::judge;
use crate::report::{Tally, Violation};
use crate::scene::Scene;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How often a call is looked for that did not come: threads may have made fewer of its kind.
const ATTEMPTS: usize = 3;

/// Which of the faults of a case are tried.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Only those at the call of this number.
    pub call: Option<usize>,
    /// Only this fault.
    pub fault: Option<Fault>,
    /// Of what is left, every so many.
    pub every: usize,
}

impl Selection {
    /// Every so many of all.
    pub const fn every(every: usize) -> Self {
        Selection { call: None, fault: None, every }
    }
}

/// Runs cases on some threads. Of each `told` is told when it is done.
///
/// # Errors
/// If one cannot be prepared, or the system refuses what a tracer does.
pub fn run(
    cases: &[&'static Case],
    program: &Path,
    selection: Selection,
    threads: usize,
    told: &(dyn Fn(&Tally) + Sync),
) -> io::Result<Vec<Tally>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        // The long ones are the last of the table, and begun first.
        while let Some(case) = cases.iter().rev().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let tally = examine(case, program, selection);
            if let Ok(tally) = &tally {
                told(tally);
            }
            done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(tally);
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut tallies = done.into_iter().collect::<io::Result<Vec<_>>>()?;
    tallies.sort_by_key(|tally| cases.iter().position(|case| case.name == tally.case));
    Ok(tallies)
}

/// Runs a case with the selected faults, one at a time.
fn examine(case: &'static Case, program: &Path, selection: Selection) -> io::Result<Tally> {
    let scene = Scene::new(case, program)?;
    let mut tally = Tally { case: case.name, calls: scene.calls.len(), ..Tally::default() };
    if !scene.wrong.is_empty() {
        tally.violations.push(Violation { at: None, wrong: scene.wrong.clone() });
    }
    let all = scene.calls.iter().enumerate().flat_map(|(number, key)| {
        Fault::all(key).into_iter().map(move |fault| (number + 1, key, fault))
    });
    let selected = all
        .filter(|(number, ..)| selection.call.is_none_or(|call| call == *number))
        .filter(|(.., fault)| selection.fault.is_none_or(|wanted| wanted == *fault))
        .step_by(selection.every);
    for (call, key, fault) in selected {
        let mut came = false;
        let mut wrong = Vec::new();
        for _ in 0..ATTEMPTS {
            let (ran, hit) = inject::run(&scene, key, fault)?;
            wrong = judge(&scene, key, fault, &ran)?;
            came = hit;
            if came || !wrong.is_empty() {
                break;
            }
        }
        match came {
            false => tally.missed += 1,
            true if fault.kills() => tally.kills += 1,
            true => tally.faults += 1,
        }
        if !wrong.is_empty() {
            tally.violations.push(Violation { at: Some((call, key.clone(), fault)), wrong });
        }
    }
    Ok(tally)
}

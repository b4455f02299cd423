//! Power cuts: what a command does to the disk is written down, and for every moment it is tried
//! what the disk may hold if the power goes. At any time the output is the old one or the new one,
//! once the command is done the new one, and the next run goes on from there.

mod cut;
mod disk;
mod record;

use crate::cases::{Case, Promise, find};
use crate::scene::{Key, Scene};
use crate::trace::{Ending, Kind};
use crate::tree::{Tree, differences, part, write_tree};
use cut::{Chance, Cut};
use disk::Disk;
use record::Recorder;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// The cases that wait for the disk. An import into the cache does so in the same way, but its key
/// follows from inodes, which are others when a disk is laid out again.
pub const CASES: [&str; 10] = [
    "import",
    "import-torch-dist",
    "import-into-parents",
    "import-overwrite",
    "import-overwrite-in-two",
    "export",
    "convert",
    "finetune",
    "finetune-lora",
    "merge",
];

/// Up to so many pending steps every combination is tried.
const EXHAUSTIVE: usize = 6;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Combinations at each moment where they are too many for all.
    pub samples: usize,
    /// Disks from which the command is run again.
    pub runs: usize,
}

/// What came out.
#[derive(Default)]
pub struct Outcome {
    /// The case, and the call after which it was killed and run again, if so.
    pub title: String,
    /// The steps that were written down.
    pub steps: usize,
    /// The disks that were looked at.
    pub disks: usize,
    /// Those from which the command was run again.
    pub runs: usize,
    /// What did not hold.
    pub wrong: BTreeSet<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { title, steps, disks, runs, wrong } = self;
        write!(
            f,
            "{title}: {steps} steps, {disks} disks, {runs} run again, {} failed",
            wrong.len()
        )?;
        wrong.iter().try_for_each(|what| write!(f, "\n    {what}"))
    }
}

/// Runs a case, and all that may become of it if the power goes; then the same where the command is
/// killed after a rename and run again.
///
/// # Errors
/// If it cannot be prepared, or what was written down is not what happened.
pub fn run(case: &str, program: &Path, effort: Effort) -> io::Result<Vec<Outcome>> {
    let case = find(case).ok_or(io::ErrorKind::NotFound)?;
    let scene = Scene::new(case, program)?;
    let renames = scene.calls.iter().filter(|key| key.kind == Kind::Rename);
    let moments = [None].into_iter().chain(renames.map(Some));
    moments.map(|kill| examine(&scene, kill, effort)).collect()
}

fn examine(scene: &Scene, kill: Option<&Key>, effort: Effort) -> io::Result<Outcome> {
    let case: &Case = scene.case;
    scene.reset()?;
    let mut recorder = Recorder::new(scene.stage(), &scene.before);
    if let Some(key) = kill {
        recorder.kill_after(key);
        scene.run(case.args, &mut recorder)?;
    }
    let ran = scene.run(case.args, &mut recorder)?;
    let now = scene.now()?;
    let differ = differences(&now, &recorder.now.tree());
    if !differ.is_empty() {
        let what = format!("{}: what was written down is not what happened: {differ:?}", case.name);
        return Err(io::Error::other(what));
    }
    let title = match kill {
        Some(key) => format!("{}, killed after {} {}", case.name, key.name, key.paths.join(" → ")),
        None => case.name.into(),
    };
    let steps = &recorder.steps;
    let mut outcome = Outcome { title, steps: steps.len(), ..Outcome::default() };
    let mut chance = Chance(steps.len() as u64);
    let mut again: Vec<Tree> = Vec::new();
    let targets = case.targets.iter();
    let news: Vec<Tree> = targets.map(|target| part(&scene.after, target.path)).collect();
    for count in 0..=steps.len() {
        let cut = Cut::new(&recorder.begin, &steps[..count]);
        let is_done = count == steps.len() && ran.ending == Ending::Code(0);
        disks(&cut, effort.samples, &mut chance, |disk, chance| {
            outcome.disks += 1;
            let wrong = states(scene, &disk, &news, is_done);
            let after =
                || steps[..count].last().map_or("nothing".into(), |step| format!("{step:.60?}"));
            outcome
                .wrong
                .extend(wrong.into_iter().map(|what| format!("{what}, after {}", after())));
            // A sample of fixed size of all disks, each with the same chance.
            if again.len() < effort.runs {
                again.push(disk.tree());
            } else if let Some(old) = again.get_mut(chance.below(outcome.disks)) {
                *old = disk.tree();
            }
        });
    }
    for tree in &again {
        outcome.runs += 1;
        outcome.wrong.extend(next(scene, tree)?);
    }
    Ok(outcome)
}

/// Disks that may be there after a cut: all combinations of what is pending if they are few; else
/// none, all, each alone, all but each, and some at random.
fn disks(
    cut: &Cut<'_>,
    samples: usize,
    chance: &mut Chance,
    mut each: impl FnMut(Disk, &mut Chance),
) {
    let pending = &cut.pending;
    let mut subsets: Vec<BTreeSet<usize>> = Vec::new();
    if pending.len() <= EXHAUSTIVE {
        let member = |subset: usize, at: usize| (subset >> at & 1 == 1).then(|| pending[at]);
        let subset = |subset| (0..pending.len()).filter_map(|at| member(subset, at)).collect();
        subsets.extend((0..1 << pending.len()).map(subset));
    } else {
        let all: BTreeSet<usize> = pending.iter().copied().collect();
        subsets.extend([BTreeSet::new(), all.clone()]);
        for &one in pending {
            subsets.push([one].into());
            subsets.push(all.iter().copied().filter(|&other| other != one).collect());
        }
        let random = |_| pending.iter().copied().filter(|_| chance.below(2) == 0).collect();
        subsets.extend((0..samples).map(random));
    }
    for subset in subsets {
        for &data in cut.data() {
            let disk = cut.disk(|step| subset.contains(&step), data, chance);
            each(disk, chance);
        }
    }
}

/// What is wrong with the outputs on a disk; once the command is done they are the new ones.
fn states(scene: &Scene, disk: &Disk, news: &[Tree], is_done: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((target, states), new) in scene.case.targets.iter().zip(&scene.states).zip(news) {
        if !matches!(target.promise, Promise::Whole(_)) {
            continue;
        }
        let state = disk.part(target.path);
        if !states.contains(&state) {
            let differ = differences(new, &state);
            let differ = &differ[..differ.len().min(3)];
            wrong.push(format!("{} is neither old nor new: {differ:?}", target.path));
        } else if is_done && state != *new {
            wrong.push(format!("{} is not the new one, though the command was done", target.path));
        }
    }
    wrong
}

/// What is wrong after the next run from this disk.
fn next(scene: &Scene, tree: &Tree) -> io::Result<Vec<String>> {
    let stage = scene.stage();
    fs::remove_dir_all(&stage)?;
    write_tree(tree, &stage)?;
    crate::judge::next(scene, tree)
}

//! What must hold after a fault.

use crate::cases::{Next, Promise};
use crate::inject::{Fault, Undisturbed};
use crate::scene::{Key, Ran, Scene};
use crate::trace::{Ending, Kind};
use crate::tree::{Node, Tree, differences, part};
use std::io;

/// What every name has that this tool uses beside an output.
const BESIDE: &str = ".connector-";

// Exit codes.
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const IO: i32 = 4;
const VERIFICATION: i32 = 5;

/// Everything that is wrong after a run with a fault, and after the run that follows it.
///
/// # Errors
/// If the directory cannot be read, or the next run not be traced.
pub fn judge(scene: &Scene, key: &Key, fault: Fault, ran: &Ran) -> io::Result<Vec<String>> {
    let now = scene.now()?;
    let mut wrong = states(scene, &now);
    if ran.hung {
        wrong.push("it hung, and was ended".into());
    }
    let left = litter(scene, &now);
    match ran.ending {
        Ending::Signal(libc::SIGKILL) if fault.kills() => {}
        Ending::Signal(signal) => wrong.push(format!("it ended by the signal {signal}")),
        // A thread that is killed takes the others along only if it comes in time.
        Ending::Code(code) => {
            wrong.extend(code_is_right(scene, key, fault, code, ran, &now));
            let silent = left.iter().filter(|name| !is_named(&ran.text, name));
            wrong.extend(silent.map(|name| format!("{name} was left, without a word")));
        }
    }
    let is = |tree: &Tree| unlike(scene, &now, tree).is_empty();
    let clean = is(&scene.before) || is(&scene.after);
    if fault.kills() || !clean {
        wrong.extend(next(scene, &now)?);
    }
    Ok(wrong)
}

/// What is wrong with targets, which are in no state that they may be in, and with all else, which
/// must be as it was.
fn states(scene: &Scene, now: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (target, states) in scene.case.targets.iter().zip(&scene.states) {
        let state = part(now, target.path);
        match target.promise {
            Promise::Whole(_) if states.contains(&state) => {}
            Promise::Whole(_) => {
                let after = part(&scene.after, target.path);
                let differ = differences(&after, &state);
                wrong.push(format!("{} is neither old nor new: {differ:?}", target.path));
            }
            Promise::Grows => {
                let after = part(&scene.after, target.path);
                let torn = state.iter().filter(|(name, node)| {
                    after.get(*name).is_some_and(|whole| whole != *node)
                        && governs(scene, &format!("{}/{name}", target.path))
                            == Some(target.promise)
                });
                wrong.extend(torn.map(|(name, _)| format!("{}/{name} is not whole", target.path)));
            }
            Promise::Free | Promise::Partial => {}
        }
    }
    for (name, node) in &scene.before {
        if governs(scene, name).is_none() && now.get(name) != Some(node) {
            wrong.push(format!("{name}, which is no output, is gone or has changed"));
        }
    }
    wrong
}

/// The promise of the target that a name belongs to, the first that is listed.
fn governs(scene: &Scene, name: &str) -> Option<Promise> {
    let of =
        |path: &str| name.strip_prefix(path).is_some_and(|n| n.is_empty() || n.starts_with('/'));
    scene.case.targets.iter().find(|target| of(target.path)).map(|target| target.promise)
}

/// Names that should not be there after a run that was not killed.
fn litter(scene: &Scene, now: &Tree) -> Vec<String> {
    // Parents that are made for an output go with it.
    let expected = if is_done(scene, now) { &scene.after } else { &scene.before };
    let is_litter = |name: &&String| match governs(scene, name) {
        _ if expected.contains_key(*name) || scene.before.contains_key(*name) => false,
        Some(Promise::Partial) => false,
        promise => promise.is_none() || name.contains(BESIDE),
    };
    now.keys().filter(is_litter).cloned().collect()
}

/// Whether the outputs are those of a run without faults.
fn is_done(scene: &Scene, now: &Tree) -> bool {
    scene.case.targets.iter().all(|target| match target.promise {
        Promise::Whole(_) => part(now, target.path) == part(&scene.after, target.path),
        _ => true,
    })
}

/// Whether a message names a file: by its name, by that of a link to it, as the hub's cache has, or
/// by that of what is removed with everything in it.
fn is_told(scene: &Scene, text: &str, path: &str) -> bool {
    fn last(path: &str) -> &str {
        path.rsplit('/').next().unwrap_or_default()
    }
    // The directory in which the command runs is seldom named itself.
    if path.is_empty() {
        return true;
    }
    // What lies beside an output is named by the output.
    let name = last(path);
    let name = match name.find(BESIDE) {
        Some(end) => name[..end].trim_start_matches('.'),
        None => name,
    };
    let links = scene.after.iter().filter(|(_, node)| match node {
        Node::Link(to) => to.file_name().is_some_and(|to| to == name),
        _ => false,
    });
    let mut names = links.map(|(link, _)| last(link)).chain([name]);
    names.any(|name| text.contains(name)) || is_named(text, path)
}

/// Whether a message names what is left beside an output.
fn is_named(text: &str, path: &str) -> bool {
    text.contains(&format!("{path}/"))
        || path.split('/').any(|part| part.contains(BESIDE) && text.contains(part))
}

fn code_is_right(
    scene: &Scene,
    key: &Key,
    fault: Fault,
    code: i32,
    ran: &Ran,
    now: &Tree,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = || excerpt(&ran.text);
    // A file that ends early may be taken for one that does not fit.
    let is_cut = matches!(fault, Fault::End | Fault::Short) && key.kind == Kind::Read;
    match code {
        0 => {
            // What is left beside it is told of.
            let differ = unlike(scene, &without_beside(now, &scene.after), &scene.after);
            if !differ.is_empty() {
                wrong.push(format!("exit 0, and what is there is not the result: {differ:?}"));
            }
        }
        IO => {}
        REFUSED | VERIFICATION if is_cut => {}
        code => wrong.push(format!("exit {code}: {}", text())),
    }
    // Of a link on the way to a file the file is named.
    let on_the_way =
        key.name == "readlink" && scene.after.keys().any(|name| ran.text.contains(name));
    if code != 0 && !on_the_way && !key.paths.iter().any(|path| is_told(scene, &ran.text, path)) {
        wrong.push(format!("the message does not name {}: {}", key.paths.join(" or "), text()));
    }
    wrong
}

/// A tree without what lies beside outputs, and without folders that hold nothing else and are not
/// wanted.
fn without_beside(tree: &Tree, wanted: &Tree) -> Tree {
    let mut now = tree.clone();
    now.retain(|name, _| !name.contains(BESIDE));
    let holds = |tree: &Tree, dir: &str| {
        let inside = format!("{dir}/");
        tree.keys().any(|name| name.starts_with(&inside))
    };
    let is_alone =
        |dir: &String| !wanted.contains_key(dir) && holds(tree, dir) && !holds(&now, dir);
    let alone: Vec<String> = now.keys().filter(|dir| is_alone(dir)).cloned().collect();
    now.retain(|name, _| !alone.contains(name));
    now
}

/// The lines of what was printed that say what failed.
fn excerpt(text: &str) -> String {
    let starts = |line: &&str| !["error:", "thread "].iter().any(|start| line.starts_with(start));
    let lines: Vec<&str> = text.trim().lines().skip_while(starts).take(4).collect();
    lines.join(" / ")
}

/// What is wrong after the run that follows, where it was like `was`.
///
/// # Errors
/// If it cannot be traced.
pub fn next(scene: &Scene, was: &Tree) -> io::Result<Vec<String>> {
    let (args, code) = match scene.case.next {
        Next::AgainUnlessDone if is_done(scene, was) => (scene.case.args, USAGE),
        Next::Again | Next::AgainUnlessDone => (scene.case.args, 0),
        Next::Other(args) => (args, 0),
    };
    let ran = scene.run(args, &mut Undisturbed)?;
    let now = scene.now()?;
    let mut wrong = Vec::new();
    if ran.ending != Ending::Code(code) {
        let text = excerpt(&ran.text);
        wrong.push(format!("the next run ends with {:?}, not {code}: {text}", ran.ending));
    }
    // Another command than the same may leave what was not begun.
    let is_other = matches!(scene.case.next, Next::Other(_));
    if is_other && unlike(scene, &now, &scene.before).is_empty() {
        return Ok(wrong);
    }
    let differ = unlike(scene, &now, &scene.after);
    if !differ.is_empty() {
        wrong.push(format!("after the next run it is not the result: {differ:?}"));
    }
    Ok(wrong)
}

/// In what a tree differs from the one that is wanted. Of what is free only the names count.
fn unlike(scene: &Scene, now: &Tree, wanted: &Tree) -> Vec<String> {
    let names_alone = |tree: &Tree| -> Tree {
        let free =
            |name: &String| matches!(governs(scene, name), Some(Promise::Free | Promise::Partial));
        let plain = |(name, node): (&String, &Node)| {
            (name.clone(), if free(name) { Node::Dir } else { node.clone() })
        };
        tree.iter().map(plain).collect()
    };
    differences(&names_alone(wanted), &names_alone(now))
}

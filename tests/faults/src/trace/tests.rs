use super::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory with `a` in it, which holds `content`.
fn place(content: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    fs::write(path.join("a"), content).unwrap();
    (dir, path)
}

fn command(program: &str, args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs to the end. Of each call `decide` says what becomes of it.
fn run(
    dir: &Path,
    command: &mut Command,
    mut decide: impl FnMut(&Call) -> Action,
) -> (Ending, Vec<String>) {
    let mut session = Session::new([dir.to_path_buf()]);
    session.spawn(command).unwrap();
    let (mut calls, mut ended) = (Vec::new(), None);
    while let Some(event) = session.next_event().unwrap() {
        match event {
            Event::Call(call) => {
                let names =
                    call.paths.iter().map(|path| path.strip_prefix(dir).unwrap_or(path).display());
                let names: Vec<_> = names.map(|name| name.to_string()).collect();
                calls.push(format!("{:?} {}", call.kind(), names.join(" ")));
                session.release(&call, decide(&call)).unwrap();
            }
            Event::Return(returned) => session.resume(&returned).unwrap(),
            Event::Exit(_, ending) => ended = Some(ending),
        }
    }
    (ended.unwrap(), calls)
}

fn is(call: &Call, kind: Kind, name: &str) -> bool {
    call.kind() == kind && call.paths.iter().any(|path| path.ends_with(name))
}

#[test]
fn calls_are_seen_by_whatever_names_the_file() {
    let (_dir, path) = place("text");
    let (ended, calls) = run(&path, &mut command("mv", &["./a", "b"], &path), |_| Action::Make);
    assert_eq!(ended, Ending::Code(0));
    assert!(calls.contains(&"Rename a b".into()), "{calls:?}");
    let (_, calls) = run(&path, &mut command("cat", &["b"], &path), |_| Action::Make);
    for want in ["Open b", "Read b", "Close b"] {
        assert!(calls.contains(&want.into()), "{want}: {calls:?}");
    }
    let (_, calls) = run(&path, &mut command("cat", &["/etc/passwd"], &path), |_| Action::Make);
    assert_eq!(calls, [""; 0]);
}

#[test]
fn a_call_fails_as_it_is_told() {
    let (_dir, path) = place("text");
    let (ended, _) = run(&path, &mut command("rm", &["a"], &path), |call| {
        if is(call, Kind::Remove, "a") { Action::Fail(Errno(libc::EIO)) } else { Action::Make }
    });
    assert_eq!(ended, Ending::Code(1));
    assert!(path.join("a").exists(), "it was not to be made");

    let (ended, _) = run(&path, &mut command("rm", &["a"], &path), |call| {
        if is(call, Kind::Remove, "a") {
            Action::MakeAndFail(Errno(libc::EIO))
        } else {
            Action::Make
        }
    });
    assert_eq!(ended, Ending::Code(1));
    assert!(!path.join("a").exists(), "it was to be made");
}

/// What `head` prints if its first read is told `action`.
fn head(action: Action) -> String {
    let (_dir, path) = place("12345678");
    let mut first = Some(action);
    let out = path.with_extension("out");
    let mut head = command("head", &["-c", "100", "a"], &path);
    head.stdout(fs::File::create(&out).unwrap());
    run(&path, &mut head, |call| {
        let action = is(call, Kind::Read, "a").then(|| first.take()).flatten();
        action.unwrap_or(Action::Make)
    });
    let text = fs::read_to_string(&out).unwrap();
    fs::remove_file(out).unwrap();
    text
}

#[test]
fn bytes_end_early() {
    assert_eq!(head(Action::Make), "12345678");
    assert_eq!(head(Action::End), "");

    let (_dir, path) = place("");
    let mut lengths = Vec::new();
    let mut dd = command("dd", &["if=/dev/zero", "of=a", "bs=7", "count=1"], &path);
    run(&path, &mut dd, |call| {
        if !is(call, Kind::Write, "a") {
            return Action::Make;
        }
        lengths.push(call.length().unwrap());
        if lengths.len() == 1 { Action::Shorten } else { Action::Make }
    });
    assert_eq!(lengths, [7, 3], "the second call is for what the first left");
    assert_eq!(fs::read(path.join("a")).unwrap(), [0; 7]);
}

#[test]
fn a_process_that_is_killed_does_not_make_the_call() {
    let (_dir, path) = place("text");
    let mut session = Session::new([path.clone()]);
    let (process, _) = session.spawn(&mut command("rm", &["a"], &path)).unwrap();
    let mut ended = None;
    while let Some(event) = session.next_event().unwrap() {
        match event {
            Event::Call(call) if call.kind() == Kind::Remove => session.kill(process).unwrap(),
            Event::Call(call) => session.release(&call, Action::Make).unwrap(),
            Event::Return(_) => unreachable!("nothing is observed"),
            Event::Exit(who, ending) => ended = (who == process).then_some(ending),
        }
    }
    assert_eq!(ended, Some(Ending::Signal(libc::SIGKILL)));
    assert!(path.join("a").exists());
}

/// The bytes and the place of what is written are known once the call has returned.
#[test]
fn a_call_is_observed() {
    let (_dir, path) = place("");
    let mut session = Session::new([path.clone()]);
    let script = "exec > a; echo one; echo two; exit 3";
    session.spawn(&mut command("sh", &["-c", script], &path)).unwrap();
    let (mut last, mut seen) = (None, Vec::new());
    while let Some(event) = session.next_event().unwrap() {
        match event {
            Event::Call(call) if is(&call, Kind::Write, "a") => {
                session.release(&call, Action::Observe).unwrap();
                last = Some(call);
            }
            Event::Call(call) => session.release(&call, Action::Make).unwrap(),
            Event::Return(returned) => {
                let call = last.take().unwrap();
                let end = call.cursor(call.args[0]).unwrap();
                seen.push((returned.result, end, call.open(call.args[0]).is_ok()));
                session.resume(&returned).unwrap();
            }
            Event::Exit(_, ending) => assert_eq!(ending, Ending::Code(3)),
        }
    }
    assert_eq!(seen, [(Ok(4), 4, true), (Ok(4), 8, true)]);
}

/// Two processes race for a name. Held at their calls, they do so in the order that is chosen.
#[test]
fn processes_are_released_one_by_one() {
    for first in [0, 1] {
        let (_dir, path) = place("");
        let mut session = Session::new([path.clone()]);
        let processes =
            [(); 2].map(|()| session.spawn(&mut command("mkdir", &["new"], &path)).unwrap().0);
        let (mut held, mut ended) = (Vec::new(), Vec::new());
        while let Some(event) = session.next_event().unwrap() {
            match event {
                Event::Call(call) if call.kind() == Kind::Make => held.push(call),
                Event::Call(call) => session.release(&call, Action::Make).unwrap(),
                Event::Return(_) => unreachable!("nothing is observed"),
                Event::Exit(process, ending) => {
                    ended.push((process, ending));
                    if let Some(call) = held.pop() {
                        session.release(&call, Action::Make).unwrap();
                    }
                }
            }
            if held.len() == 2 {
                let at = held.iter().position(|call| call.process == processes[first]).unwrap();
                let call = held.remove(at);
                session.release(&call, Action::Make).unwrap();
            }
        }
        let wins = (processes[first], Ending::Code(0));
        assert_eq!(ended, [wins, (processes[1 - first], Ending::Code(1))]);
    }
}

/// A program with threads, whose files are seen whichever thread opens them.
#[test]
fn threads_are_followed() {
    const INSIDE: &str = "CONNECTOR_FAULTS_THREADS";
    if let Some(dir) = std::env::var_os(INSIDE) {
        std::thread::scope(|scope| {
            for name in ["b", "c"] {
                let path = Path::new(&dir).join(name);
                scope.spawn(move || fs::write(path, name).unwrap());
            }
        });
        return;
    }
    let (_dir, path) = place("");
    let mut this = Command::new(std::env::current_exe().unwrap());
    this.args(["--exact", "trace::tests::threads_are_followed"]).env(INSIDE, &path);
    this.stdout(Stdio::null());
    let (ended, calls) = run(&path, &mut this, |_| Action::Make);
    assert_eq!(ended, Ending::Code(0));
    for want in ["Open b", "Write b", "Open c", "Write c"] {
        assert!(calls.contains(&want.into()), "{want}: {calls:?}");
    }
}

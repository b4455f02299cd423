//! Runs that fail or die at every step, in processes of their own.

use super::*;
use crate::store::publish::CONVERSION_JSON;
use std::env;
use std::process::{Command, Stdio};

const TARGET: &str = "CONNECTOR_TEST_TARGET";
const STEPS: [&str; 7] = [
    "staging.locked",
    "staging.created",
    "publish.sync",
    "publish.rename",
    "publish.between",
    "publish.renamed",
    "publish.removed",
];

/// Not a test by itself: what the other tests run in a child process.
#[test]
fn child() {
    if let Some(target) = env::var_os(TARGET) {
        write(Path::new(&target), "new").unwrap();
    }
}

fn write(target: &Path, content: &str) -> Result<()> {
    let staging = Staging::begin(target, Overwrite::Yes)?;
    fs::write(staging.path().join(CONVERSION_JSON), content).unwrap();
    staging.publish()
}

fn read(target: &Path) -> Option<String> {
    fs::read_to_string(target.join(CONVERSION_JSON)).ok()
}

/// Runs [`child`] with failpoints, and says whether it came to its end.
fn run(target: &Path, points: &str) -> bool {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::staging::crash::child"])
        .env(TARGET, target)
        .env("CONNECTOR_FAILPOINTS", points)
        // Resolving symbols takes most of a panicking child's time.
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

/// What a run of the kind does before the first step and, for `between`, instead of an exchange.
fn cases() -> impl Iterator<Item = (&'static str, bool, &'static str)> {
    STEPS.into_iter().flat_map(|step| {
        let plain = (step != "publish.between").then_some([(step, false, ""), (step, true, "")]);
        plain.into_iter().flatten().chain([(step, true, "publish.exchange=error;")])
    })
}

#[test]
fn a_failing_run_leaves_the_old_state_or_the_new_one_and_nothing_else() {
    for (step, replaces, system) in cases() {
        for action in ["error", "panic"] {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("a/out");
            if replaces {
                write(&target, "old").unwrap();
            }
            let case = format!("{system}{step}={action}, replaces: {replaces}");
            assert!(!run(&target, &format!("{system}{step}={action}")), "{case}");
            let old = replaces.then_some("old");
            let expected = match step {
                "publish.renamed" | "publish.removed" => Some("new"),
                // A panic there is a crash: the next run brings the old output back.
                "publish.between" if action == "panic" => None,
                _ => old,
            };
            assert_eq!(read(&target).as_deref(), expected, "{case}");
            let left = fs::read_dir(dir.path().join("a")).map_or(0, Iterator::count);
            // After the renames an old output stays for the next run to remove.
            let named_old = target.with_file_name(".out.connector-old").exists();
            assert_eq!(left, usize::from(expected.is_some()) + usize::from(named_old), "{case}");
            if expected.is_none() && !replaces {
                assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{case}");
            }
        }
    }
}

#[test]
fn after_a_killed_run_the_next_one_succeeds() {
    for (step, replaces, system) in cases() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/out");
        if replaces {
            write(&target, "old").unwrap();
        }
        let case = format!("{system}{step}=abort, replaces: {replaces}");
        assert!(!run(&target, &format!("{system}{step}=abort")), "{case}");
        let expected = match step {
            "publish.renamed" | "publish.removed" => Some("new"),
            "publish.between" => None,
            _ => replaces.then_some("old"),
        };
        assert_eq!(read(&target).as_deref(), expected, "{case}");

        // A run that only looks restores the old state or confirms the new one.
        drop(Staging::begin(&target, Overwrite::Yes).unwrap());
        let expected = if step == "publish.between" { Some("old") } else { expected };
        assert_eq!(read(&target).as_deref(), expected, "{case}");
        let left = fs::read_dir(dir.path().join("a")).map_or(0, Iterator::count);
        assert_eq!(left, usize::from(expected.is_some()), "{case}");

        assert!(run(&target, ""), "{case}");
        assert_eq!(read(&target).as_deref(), Some("new"), "{case}");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1, "{case}");
    }
}

/// Otherwise the cases above would all have tested the renames.
#[cfg(target_os = "linux")]
#[test]
fn an_exchange_has_no_moment_between() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    write(&target, "old").unwrap();
    assert!(run(&target, "publish.between=abort"));
    assert_eq!(read(&target).as_deref(), Some("new"));
}

#[test]
fn a_process_that_waits_with_the_lock_keeps_others_out_and_its_death_lets_them_in() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::staging::crash::child"])
        .env(TARGET, &target)
        .env("CONNECTOR_FAILPOINTS", "publish.sync=sleep:60000")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let staged = dir.path().join(".out.connector-staging").join(CONVERSION_JSON);
    while !staged.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let message = Staging::begin(&target, Overwrite::No).unwrap_err().to_string();
    assert!(message.contains(&format!("(pid {} on ", child.id())), "{message}");
    child.kill().unwrap();
    child.wait().unwrap();
    write(&target, "new").unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

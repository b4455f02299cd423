//! An import that fails, or dies, at any step: the old output or the new one, never half of one.

use connector_tests::{Bench, Child, Model, contents, options, tree};
use std::fs;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// Every step of an import into a new output, in order, and whether the output is there after it.
const STEPS: [(&str, bool); 9] = [
    ("staging.locked", false),
    ("staging.created", false),
    ("conversion.created", false),
    ("engine.chunk", false),
    ("conversion.written", false),
    ("conversion.finished", false),
    ("publish.sync", false),
    ("publish.rename", false),
    ("publish.renamed", true),
];

type Contents = Option<std::collections::BTreeMap<String, Option<Vec<u8>>>>;

/// A bench, and what its output is before and after a complete import.
struct Case {
    bench: Bench,
    old: Contents,
    new: Contents,
}

impl Case {
    /// Importing `llama`, where an import of `llama3_tied` lies already or nothing does.
    fn new(replacing: bool) -> Self {
        let (finished, bench) = (Bench::new(&Model::fixture("llama")), Bench::empty());
        finished.import(options(|_| {}));
        if replacing {
            Model::fixture("llama3_tied").write(&bench.source());
            bench.import(options(|_| {}));
            fs::remove_dir_all(bench.source()).unwrap();
        }
        Model::fixture("llama").write(&bench.source());
        let old = contents(&bench.out());
        assert_eq!(old.is_some(), replacing);
        Case { bench, old, new: contents(&finished.out()) }
    }

    fn import(&self) -> Child {
        // Buffers of 64 KiB, so that some of the tensors are written when a later chunk fails.
        let child = Child::import(PROGRAM, &self.bench.source(), &self.bench.out());
        let child = child.arg("--threads=2").arg("--max-memory=800kB");
        if self.old.is_some() { child.arg("--overwrite") } else { child }
    }

    /// Runs with a failure and checks what is left; then runs without one.
    fn fails(&self, points: &str, published: bool) {
        let ended = self.import().failpoints(points).run();
        assert_ne!(ended.code, Some(0), "{points} had no effect: {}", ended.text);
        let now = contents(&self.bench.out());
        if now.is_some() || !points.contains("publish.between=abort") {
            let want = if published { &self.new } else { &self.old };
            assert!(
                now == *want,
                "{points}: {:?}",
                now.map(|all| all.into_keys().collect::<Vec<_>>())
            );
        }
        if !points.contains("abort") {
            assert_eq!(ended.code, Some(4), "{points}: {}", ended.text);
            assert!(ended.text.contains("failpoint"), "{points}: {}", ended.text);
            // As long as the new name may not be durable, the old output is worth keeping.
            if !points.ends_with("publish.exchange=error;publish.renamed=error") {
                self.bench.assert_tidy();
            }
        }
        self.then_succeeds(points);
    }

    /// Runs to the end, whatever an earlier run left.
    fn then_succeeds(&self, after: &str) {
        // Where the earlier run published before it died, the output is in the way.
        let ended = match contents(&self.bench.out()) {
            Some(_) if self.old.is_none() => self.import().arg("--overwrite").run(),
            _ => self.import().run(),
        };
        assert_eq!(ended.code, Some(0), "after {after}: {}", ended.text);
        assert!(contents(&self.bench.out()) == self.new, "after {after}");
        self.bench.assert_tidy();
        let names: Vec<String> =
            tree(self.bench.dir()).into_keys().filter(|n| !n.contains('/')).collect();
        assert_eq!(names, ["out", "source"], "after {after}");
    }
}

#[test]
fn a_new_output_is_there_whole_or_not_at_all() {
    for action in ["error", "abort"] {
        for (step, published) in STEPS {
            Case::new(false).fails(&format!("{step}={action}"), published);
        }
    }
}

#[test]
fn a_replaced_output_is_the_old_one_or_the_new_one() {
    for action in ["error", "abort"] {
        for (step, published) in STEPS {
            Case::new(true).fails(&format!("{step}={action}"), published);
        }
        Case::new(true).fails(&format!("publish.removed={action}"), true);
    }
    Case::new(true).fails("publish.exchange=abort", false);
}

/// Where names cannot be exchanged there are two renames, and a moment without an output.
#[test]
fn two_renames_are_recovered_from() {
    for (step, published) in
        [("publish.between", false), ("publish.renamed", true), ("publish.removed", true)]
    {
        for action in ["error", "abort"] {
            Case::new(true).fails(&format!("publish.exchange=error;{step}={action}"), published);
        }
    }
    let case = Case::new(true);
    let ended = case.import().failpoints("publish.exchange=error").run();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(contents(&case.bench.out()) == case.new);
    case.bench.assert_tidy();
}

/// Even a run that is refused brings the old output back.
#[test]
fn the_old_output_comes_back_with_the_next_run() {
    let case = Case::new(true);
    case.import().failpoints("publish.exchange=error;publish.between=abort").run();
    assert!(contents(&case.bench.out()).is_none(), "this system does not leave the moment to see");
    let ended = Child::import(PROGRAM, &case.bench.source(), &case.bench.out()).run();
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("already exists"), "{}", ended.text);
    assert!(contents(&case.bench.out()) == case.old);
    case.bench.assert_tidy();
}

#[test]
fn a_later_chunk_may_fail_too() {
    for chunk in [2, 7] {
        for action in ["error", "abort"] {
            Case::new(false).fails(&format!("engine.chunk={action}@{chunk}"), false);
        }
    }
}

/// A panic is a defect, and leaves as little.
#[test]
fn a_panic_leaves_nothing() {
    for step in ["staging.created", "engine.chunk", "conversion.finished", "publish.rename"] {
        let case = Case::new(false);
        let ended = case.import().failpoints(&format!("{step}=panic")).run();
        assert!(!matches!(ended.code, Some(0)), "{}", ended.text);
        assert!(contents(&case.bench.out()).is_none(), "{step}");
        case.bench.assert_tidy();
        case.then_succeeds(step);
    }
}

/// Killed when its output was in its place already: the next run is refused, and clears up.
#[test]
fn a_refused_run_removes_what_a_killed_one_left() {
    for (replacing, points) in [
        (false, "publish.renamed=abort"),
        (true, "publish.renamed=abort"),
        (true, "publish.exchange=error;publish.renamed=abort"),
    ] {
        let case = Case::new(replacing);
        case.import().failpoints(points).run();
        assert!(tree(case.bench.dir()).keys().any(|name| name.contains(".connector-")), "{points}");
        let ended = Child::import(PROGRAM, &case.bench.source(), &case.bench.out()).run();
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        assert!(contents(&case.bench.out()) == case.new, "{points}");
        case.bench.assert_tidy();
    }
}

const NO_LOCKS: &str = "lock.supported=error";

/// Where the file system knows no locks, each run has names of its own; those of the dead are found.
#[cfg(target_os = "linux")]
#[test]
fn without_locks_the_output_is_the_old_one_or_the_new_one() {
    for (replacing, step, published) in [
        (false, "staging.created", false),
        (true, "conversion.written", false),
        (false, "publish.rename", false),
        (true, "publish.rename", false),
        (true, "publish.renamed", true),
    ] {
        let case = Case::new(replacing);
        case.fails(&format!("{NO_LOCKS};{step}=error"), published);
        let case = Case::new(replacing);
        let ended = case.import().failpoints(&format!("{NO_LOCKS};{step}=abort")).run();
        assert_ne!(ended.code, Some(0), "{step}");
        let want = if published { &case.new } else { &case.old };
        assert!(contents(&case.bench.out()) == *want, "{step}");
        // The next one has no locks either.
        let ended = case.import().failpoints(NO_LOCKS).run();
        assert_eq!(ended.code, Some(0), "{step}: {}", ended.text);
        assert!(ended.text.contains("knows no locks"), "{}", ended.text);
        assert!(contents(&case.bench.out()) == case.new, "{step}");
        case.bench.assert_tidy();
    }
    for step in ["publish.between", "publish.renamed", "publish.removed"] {
        let case = Case::new(true);
        let points = format!("{NO_LOCKS};publish.exchange=error;{step}=abort");
        assert_ne!(case.import().failpoints(&points).run().code, Some(0), "{step}");
        let ended = Child::import(PROGRAM, &case.bench.source(), &case.bench.out())
            .failpoints(NO_LOCKS)
            .run();
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        let want = if step == "publish.between" { &case.old } else { &case.new };
        assert!(contents(&case.bench.out()) == *want, "{step}");
        case.bench.assert_tidy();
    }
}

/// Several at once: each output that is published is whole, and who comes too late leaves nothing.
#[test]
fn without_locks_runs_do_not_share_what_they_write() {
    for (points, overwrite) in [
        ("conversion.created=sleep:200;engine.chunk=sleep:5", false),
        ("conversion.created=sleep:200;publish.rename=sleep:50", true),
        ("publish.exchange=error;conversion.created=sleep:200;publish.between=sleep:50", true),
    ] {
        let case = Case::new(overwrite);
        let start = || case.import().failpoints(&format!("{NO_LOCKS};{points}")).start();
        let runs: Vec<_> = (0..3).map(|_| start()).collect();
        let mut codes = Vec::new();
        for run in runs {
            codes.push(connector_tests::Ended::from(run.wait_with_output().unwrap()).code);
        }
        assert!(codes.contains(&Some(0)), "{points}: {codes:?}");
        // Between its two renames a name is free, or taken by another.
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 2 | 4))), "{points}: {codes:?}");
        assert!(contents(&case.bench.out()) == case.new, "{points}");
        case.bench.assert_tidy();
    }
}

/// What another process may still be writing, for all that can be known here, stays and is named.
#[test]
fn without_locks_what_may_be_alive_is_left() {
    let case = Case::new(false);
    let of_others = ".out.connector-staging-1-0123456789abcdef-01234567";
    fs::create_dir(case.bench.dir().join(of_others)).unwrap();
    fs::create_dir(case.bench.dir().join(".out.connector-staging")).unwrap();
    let ended = case.import().failpoints(NO_LOCKS).run();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains(of_others), "{}", ended.text);
    let mut names: Vec<_> = tree(case.bench.dir()).into_keys().collect();
    names.retain(|name| name.starts_with(".out"));
    assert_eq!(names, [".out.connector-staging", of_others]);
}

/// A single file is there whole or not at all, and a killed run is no obstacle to the next one.
#[test]
fn single_files_appear_whole() {
    let bench = Bench::new(&Model::fixture("llama"));
    let (source, draft, out) =
        (bench.source(), bench.dir().join("x.rs"), bench.dir().join("x.safetensors"));
    let ids = connector_tests::fixture("llama/logits.safetensors");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_string();
    let scaffold = ["scaffold".into(), text(&source), "--output".into(), text(&draft)].to_vec();
    let logits =
        ["logits".into(), text(&source), "--ids".into(), text(&ids), "--out".into(), text(&out)];
    let no_locks = format!("{NO_LOCKS};");
    let mut cases = vec![(&logits[..], &out, "", "file.written")];
    let steps = ["file.created", "file.written", "file.renamed"];
    cases.extend(steps.map(|step| (&scaffold[..], &draft, "", step)));
    if cfg!(target_os = "linux") {
        cases.extend(steps.map(|step| (&scaffold[..], &draft, no_locks.as_str(), step)));
    }
    for (args, file, locks, step) in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let run = |points: &str| Child::new(PROGRAM, &args).failpoints(points).run();
        let left = || {
            let names = tree(bench.dir()).into_keys();
            names.filter(|name| name.starts_with(".x")).collect::<Vec<_>>()
        };
        let published = step == "file.renamed";
        for action in ["error", "abort"] {
            let points = format!("{locks}{step}={action}");
            assert_ne!(run(&points).code, Some(0), "{points}");
            assert_eq!(file.exists(), published, "{points}");
            assert_eq!(left().is_empty(), action == "error" || published && !locks.is_empty());
            let ended = run("");
            assert_eq!(ended.code, Some(if published { 2 } else { 0 }), "{}", ended.text);
            assert_eq!(left(), [""; 0], "{points}");
            fs::remove_file(file).unwrap();
        }
    }
}

/// The output of a run that is still writing is nobody else's.
#[test]
fn two_runs_for_one_output_do_not_meet() {
    let case = Case::new(false);
    let slow = case.import().failpoints("conversion.created=sleep:60000").start();
    let mut slow = Slow(slow);
    slow.wait_for(&case.bench.dir().join(".out.connector-staging/weights"));
    let ended = case.import().run();
    assert_eq!(ended.code, Some(4), "{}", ended.text);
    let pid = format!("another process (pid {} on ", slow.0.id());
    assert!(ended.text.contains(&pid), "{}", ended.text);
    drop(slow);
    case.then_succeeds("a run that was killed");
}

#[cfg(unix)]
#[test]
fn signals_stop_an_import_and_leave_nothing() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        for replacing in [false, true] {
            // Where each of many chunks waits, and where the last step does: long enough that the
            // signal comes first, short enough to be waited for.
            for (step, there) in [
                ("engine.chunk=sleep:300", "weights/model.safetensors"),
                ("conversion.finished=sleep:2000", "conversion.json"),
            ] {
                let case = Case::new(replacing);
                let child = case.import().failpoints(step);
                let mut child = Slow(child.start());
                child.wait_for(&case.bench.dir().join(".out.connector-staging").join(there));
                child.signal(signal);
                let status = child.0.wait().unwrap();
                assert_eq!(status.code(), Some(code), "{signal} at {step}");
                assert!(contents(&case.bench.out()) == case.old, "{signal} at {step}");
                case.bench.assert_tidy();
            }
        }
    }
}

/// A child that is waited for and, whatever happens, ended.
struct Slow(std::process::Child);

impl Slow {
    fn wait_for(&mut self, path: &std::path::Path) {
        while !path.exists() {
            assert!(self.0.try_wait().unwrap().is_none(), "it ended before {}", path.display());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_misspelt_failpoint_is_no_success() {
    let case = Case::new(false);
    let ended = case.import().failpoints("engine.chunk=eror").run();
    assert_ne!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("eror"), "{}", ended.text);
}

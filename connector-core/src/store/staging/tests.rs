use super::*;
use crate::store::publish::CONVERSION_JSON;
use std::ffi::OsStr;
use std::thread;

/// Writes an output of this tool that holds `content`.
fn write(target: &Path, content: &str, overwrite: Overwrite) -> Result<()> {
    let staging = Staging::begin(target, overwrite)?;
    fs::create_dir(staging.path().join("weights")).unwrap();
    fs::write(staging.path().join("weights/w"), content).unwrap();
    fs::write(staging.path().join(CONVERSION_JSON), content).unwrap();
    staging.publish()
}

fn content(target: &Path) -> String {
    let content = fs::read_to_string(target.join(CONVERSION_JSON)).unwrap();
    assert_eq!(fs::read_to_string(target.join("weights/w")).unwrap(), content);
    content
}

fn is_alone(dir: &Path, name: impl AsRef<OsStr>) -> bool {
    names(dir) == [name.as_ref()]
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn refusal(target: &Path, overwrite: Overwrite) -> String {
    Staging::begin(target, overwrite).unwrap_err().to_string()
}

#[test]
fn the_output_appears_whole_and_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let staging = Staging::begin(&target, Overwrite::No).unwrap();
    assert!(!target.exists());
    assert!(staging.path().ends_with(".out.connector-staging"));
    drop(staging);
    write(&target, "1", Overwrite::No).unwrap();
    assert_eq!(content(&target), "1");
    assert!(is_alone(dir.path(), "out"));
}

#[test]
fn an_output_that_exists_is_replaced_only_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    write(&target, "1", Overwrite::No).unwrap();
    let message = refusal(&target, Overwrite::No);
    assert!(message.ends_with("replace it, or choose another output"), "{message}");
    assert!(message.contains(&*target.to_string_lossy()), "{message}");
    assert_eq!(content(&target), "1");
    write(&target, "2", Overwrite::Yes).unwrap();
    assert_eq!(content(&target), "2");
    assert!(is_alone(dir.path(), "out"));
}

#[test]
fn overwrite_needs_nothing_to_overwrite_or_an_empty_directory() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a"), "1", Overwrite::Yes).unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    write(&dir.path().join("b"), "2", Overwrite::Yes).unwrap();
    assert_eq!(content(&dir.path().join("b")), "2");
    assert_eq!(names(dir.path()), ["a", "b"]);
}

#[test]
fn what_this_tool_did_not_write_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    fs::write(&target, "x").unwrap();
    assert!(refusal(&target, Overwrite::Yes).contains("not a directory"));
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("thesis"), "x").unwrap();
    assert!(refusal(&target, Overwrite::Yes).contains("no conversion.json"));
    // A directory of that name is no record.
    fs::create_dir(target.join(CONVERSION_JSON)).unwrap();
    assert!(refusal(&target, Overwrite::Yes).contains("no conversion.json"));
    assert!(is_alone(dir.path(), "out"));
}

#[cfg(unix)]
#[test]
fn a_link_is_not_replaced_but_followed_on_the_way() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    assert!(refusal(&link, Overwrite::No).contains("already exists"));
    assert!(refusal(&link, Overwrite::Yes).contains("symbolic link"));
    assert!(refusal(&dir.path().join("link/"), Overwrite::Yes).contains("symbolic link"));
    write(&link.join("out"), "1", Overwrite::No).unwrap();
    assert_eq!(content(&real.join("out")), "1");
    let dangling = dir.path().join("dangling");
    symlink(dir.path().join("none"), &dangling).unwrap();
    assert!(refusal(&dangling, Overwrite::No).contains("already exists"));
}

#[test]
fn a_target_that_came_meanwhile_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    for overwrite in [Overwrite::No, Overwrite::Yes] {
        let staging = Staging::begin(&target, overwrite).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("thesis"), "x").unwrap();
        staging.publish().unwrap_err();
        assert!(target.join("thesis").exists());
        assert!(is_alone(dir.path(), "out"));
        fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn dropped_without_publishing_it_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let staging = Staging::begin(&dir.path().join("a/b/out"), Overwrite::No).unwrap();
    fs::create_dir(staging.path().join("weights")).unwrap();
    fs::write(staging.path().join("weights/w"), "x").unwrap();
    drop(staging);
    assert!(names(dir.path()).is_empty());

    fs::create_dir(dir.path().join("a")).unwrap();
    drop(Staging::begin(&dir.path().join("a/b/out"), Overwrite::No).unwrap());
    assert!(is_alone(dir.path(), "a"));

    write(&dir.path().join("a/b/c/out"), "1", Overwrite::No).unwrap();
    assert_eq!(content(&dir.path().join("a/b/c/out")), "1");
}

#[test]
fn a_parent_that_others_use_meanwhile_stays() {
    let dir = tempfile::tempdir().unwrap();
    let staging = Staging::begin(&dir.path().join("a/b/out"), Overwrite::No).unwrap();
    fs::write(dir.path().join("a/other"), "x").unwrap();
    drop(staging);
    assert!(is_alone(&dir.path().join("a"), "other"));
}

#[test]
fn a_parent_that_is_a_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    for target in ["file/out", "file/a/out"] {
        let message = refusal(&dir.path().join(target), Overwrite::No);
        assert!(message.contains("file"), "{message}");
    }
    assert!(is_alone(dir.path(), "file"));
}

#[test]
fn stale_staging_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let stale = dir.path().join(".out.connector-staging");
    fs::create_dir_all(stale.join("weights")).unwrap();
    fs::write(stale.join("weights/w"), "x").unwrap();
    fs::write(dir.path().join(".out.connector-lock"), "1").unwrap();
    let staging = Staging::begin(&dir.path().join("out"), Overwrite::No).unwrap();
    assert!(names(staging.path()).is_empty());
    drop(staging);
    fs::write(&stale, "a file").unwrap();
    drop(Staging::begin(&dir.path().join("out"), Overwrite::No).unwrap());
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_brought_back_output_counts_as_one_that_exists() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    write(&target, "1", Overwrite::No).unwrap();
    fs::rename(&target, dir.path().join(".out.connector-old")).unwrap();
    assert!(refusal(&target, Overwrite::No).contains("already exists"));
    assert_eq!(content(&target), "1");
    assert!(is_alone(dir.path(), "out"));
}

#[test]
fn a_second_run_is_refused_and_disturbs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("a/out");
    let staging = Staging::begin(&target, Overwrite::No).unwrap();
    fs::write(staging.path().join(CONVERSION_JSON), "1").unwrap();
    assert!(refusal(&target, Overwrite::Yes).contains("is writing"));
    staging.publish().unwrap();
    assert!(is_alone(&target, CONVERSION_JSON));
}

#[test]
fn runs_that_compete_for_one_output_and_its_parents_leave_one_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("a/b/out");
    thread::scope(|scope| {
        for i in 0..8 {
            let target = &target;
            scope.spawn(move || {
                for round in 0..50 {
                    let result = match round % 2 {
                        0 => Staging::begin(target, Overwrite::Yes).map(drop),
                        _ => write(target, &i.to_string(), Overwrite::Yes),
                    };
                    match result {
                        Ok(()) | Err(Error::Locked { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    content(&target);
    assert!(is_alone(&dir.path().join("a/b"), "out"));
}

#[test]
fn runs_that_fail_do_not_take_the_parents_from_under_others() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for i in 0..4 {
            let target = dir.path().join(format!("a/b/out{i}"));
            scope.spawn(move || {
                for _ in 0..300 {
                    drop(Staging::begin(&target, Overwrite::No).unwrap());
                }
            });
        }
    });
    // The last to go need not be the one that made a parent, so this one may have stayed.
    assert!(!dir.path().join("a/b").exists() || names(&dir.path().join("a/b")).is_empty());
}

#[test]
fn unusual_names() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        OsStr::new("with space"),
        OsStr::new("ünï"),
        OsStr::new("-x"),
        #[cfg(target_os = "linux")]
        std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe"),
    ];
    for name in names {
        write(&dir.path().join(name), "1", Overwrite::No).unwrap();
        write(&dir.path().join(name), "2", Overwrite::Yes).unwrap();
        assert_eq!(content(&dir.path().join(name)), "2");
    }
    for target in [".", "..", "/", ""] {
        assert!(refusal(Path::new(target), Overwrite::Yes).contains("name the new directory"));
    }
}

//! The commands that meet faults, and what each promises.

use connector_tests::{MODEL, fixture};
use std::fs;
use std::io;
use std::path::Path;

/// A command with what is there before it, and what it makes.
pub struct Case {
    /// What it is called in reports and on the command line.
    pub name: &'static str,
    /// Makes what is there before, in the directory where the command will run.
    pub prepare: fn(&Scenery<'_>) -> io::Result<()>,
    /// The command.
    pub args: &'static [&'static str],
    /// What it writes. All else is left as it was.
    pub targets: &'static [Target],
    /// What is run after a kill.
    pub next: Next,
    /// Calls that fail whenever they are made: what the system does not have.
    pub lacks: &'static [(&'static str, i32)],
    /// Whether there is a hub.
    pub hub: bool,
}

/// What a command writes, and what may be seen of it at any time.
pub struct Target {
    /// Where it is; `KEY` stands for the key of a conversion in the cache.
    pub path: &'static str,
    /// What it may be.
    pub promise: Promise,
}

/// What a target may be at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// One of so many states, the first is that before the command and the last its result.
    Whole(usize),
    /// What the result has, as far as it is there yet; each file of it whole.
    Grows,
    /// Anything, as logs are; at the end the result has as many files.
    Free,
    /// Anything, and what the next run goes on from.
    Partial,
}

/// What is run after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same command, which does what is left to do.
    Again,
    /// The same command, which refuses an output that is there (exit code 2).
    AgainUnlessDone,
    /// Another one.
    Other(&'static [&'static str]),
}

/// Where a case is prepared.
pub struct Scenery<'a> {
    /// The directory.
    pub dir: &'a Path,
    /// Runs a command of the program there, which must succeed.
    pub run: &'a dyn Fn(&[&str]) -> io::Result<()>,
}

/// The case of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

const OUT: &[Target] = &[Target { path: "out", promise: Promise::Whole(2) }];

/// An import of `source` into `out`.
const IMPORT: Case = Case {
    name: "import",
    prepare: source,
    args: &["import", "source", "--output", "out", "--threads", "1"],
    targets: OUT,
    next: Next::AgainUnlessDone,
    lacks: &[],
    hub: false,
};

/// The same over an older output.
const OVERWRITE: Case = Case {
    name: "import-overwrite",
    prepare: |at| {
        source(at)
            .and_then(|()| (at.run)(&["import", "source", "--output", "out", "--dtype", "bf16"]))
    },
    args: &["import", "source", "--output", "out", "--threads", "1", "--overwrite"],
    next: Next::Again,
    ..IMPORT
};

/// All cases.
pub const CASES: &[Case] = &[
    IMPORT,
    Case {
        name: "import-torch-dist",
        args: &[
            "import",
            "source",
            "--output",
            "out",
            "--threads",
            "1",
            "--flavor",
            "nemo",
            "--files",
            "2",
        ],
        ..IMPORT
    },
    Case {
        name: "import-cast",
        args: &["import", "source", "--output", "out", "--threads", "1", "--dtype", "bf16"],
        ..IMPORT
    },
    Case {
        name: "import-hash",
        args: &["import", "source", "--output", "out", "--threads", "1", "--hash"],
        ..IMPORT
    },
    Case {
        name: "import-no-sync",
        args: &["import", "source", "--output", "out", "--threads", "1", "--no-sync"],
        ..IMPORT
    },
    Case {
        name: "import-io-copy",
        args: &["import", "source", "--output", "out", "--threads", "1", "--io", "copy"],
        ..IMPORT
    },
    Case {
        name: "import-io-direct",
        args: &["import", "source", "--output", "out", "--threads", "1", "--io", "direct"],
        ..IMPORT
    },
    Case {
        name: "import-into-parents",
        args: &["import", "source", "--output", "new/deep/out", "--threads", "1"],
        targets: &[Target { path: "new/deep/out", promise: Promise::Whole(2) }],
        ..IMPORT
    },
    OVERWRITE,
    Case {
        name: "import-overwrite-in-two",
        lacks: &[("renameat2", libc::EINVAL)],
        // Between two renames there is none.
        targets: &[Target { path: "out", promise: Promise::Whole(3) }],
        ..OVERWRITE
    },
    Case { name: "import-without-locks", lacks: &[("flock", libc::ENOLCK)], ..IMPORT },
    Case {
        name: "import-into-cache",
        args: &["import", "source", "--threads", "1"],
        targets: &[
            Target { path: "nemo/connector/_local/source/KEY", promise: Promise::Whole(2) },
            Target { path: "nemo", promise: Promise::Free },
        ],
        next: Next::Again,
        ..IMPORT
    },
    Case {
        name: "export",
        prepare: imported,
        args: &["export", "nemo", "--output", "out", "--threads", "1"],
        ..IMPORT
    },
    Case {
        name: "export-torch-dist",
        prepare: distributed,
        args: &["export", "nemo", "--output", "out", "--threads", "1"],
        ..IMPORT
    },
    Case {
        name: "convert",
        prepare: imported,
        args: &["convert", "nemo", "--output", "out", "--threads", "1", "--flavor", "nemo"],
        ..IMPORT
    },
    Case {
        name: "finetune",
        prepare: trainable,
        args: &[
            "finetune",
            "source",
            "--data",
            "data.jsonl",
            "--output",
            "run",
            "--seq-length",
            "32",
            "--max-steps",
            "2",
            "--save-every",
            "1",
        ],
        targets: &[
            Target { path: "run/checkpoints/default-last", promise: Promise::Whole(3) },
            Target { path: "run", promise: Promise::Free },
        ],
        next: Next::Again,
        ..IMPORT
    },
    Case {
        name: "finetune-lora",
        prepare: trainable,
        args: &[
            "finetune",
            "source",
            "--data",
            "data.jsonl",
            "--output",
            "run",
            "--seq-length",
            "32",
            "--max-steps",
            "2",
            "--save-every",
            "1",
            "--lora",
            "2",
        ],
        targets: &[
            Target { path: "run/checkpoints/default-last", promise: Promise::Whole(3) },
            Target { path: "run", promise: Promise::Free },
        ],
        next: Next::Again,
        ..IMPORT
    },
    Case {
        name: "merge",
        prepare: adapted,
        args: &["merge", "run/checkpoints/default-last", "--output", "out"],
        ..IMPORT
    },
    Case {
        name: "export-adapter",
        prepare: adapted,
        args: &["export", "run/checkpoints/default-last", "--output", "out"],
        ..IMPORT
    },
    Case {
        name: "cache-gc",
        prepare: |at| {
            cached(at)?;
            // Damaged, and left by a run that was killed.
            let entry = entry(at, "a")?;
            fs::remove_file(entry.join("weights/model.safetensors"))?;
            fs::create_dir_all(
                at.dir.join("nemo/connector/_local/b/.0123456789abcdef.connector-staging/weights"),
            )
        },
        args: &["cache", "gc"],
        targets: &[
            Target { path: "nemo/connector/_local/a", promise: Promise::Free },
            Target { path: "nemo/connector/_local/b", promise: Promise::Free },
            Target { path: "nemo/connector/_local/b/KEY", promise: Promise::Whole(1) },
        ],
        next: Next::Again,
        ..IMPORT
    },
    Case {
        name: "cache-rm",
        prepare: cached,
        args: &["cache", "rm", "_local/a"],
        targets: &[
            Target { path: "nemo/connector/_local/a/KEY", promise: Promise::Whole(2) },
            Target { path: "nemo/connector/_local/a", promise: Promise::Free },
        ],
        next: Next::Other(&["cache", "gc"]),
        ..IMPORT
    },
    Case {
        name: "download",
        prepare: |_| Ok(()),
        args: &["import", DOWNLOADED, "--output", "out", "--threads", "1"],
        targets: &[
            Target { path: "out", promise: Promise::Whole(2) },
            Target { path: "hf/hub/.locks", promise: Promise::Partial },
            Target { path: "hf", promise: Promise::Grows },
        ],
        hub: true,
        ..IMPORT
    },
    Case {
        name: "scaffold",
        args: &["scaffold", "source", "--output", "importer.rs"],
        targets: &[Target { path: "importer.rs", promise: Promise::Whole(2) }],
        ..IMPORT
    },
    Case {
        name: "logits",
        prepare: |at| {
            source(at).and_then(|()| {
                fs::copy(fixture("llama/logits.safetensors"), at.dir.join("ids.safetensors"))
                    .map(drop)
            })
        },
        args: &["logits", "source", "--ids", "ids.safetensors", "--out", "logits.safetensors"],
        targets: &[Target { path: "logits.safetensors", promise: Promise::Whole(2) }],
        ..IMPORT
    },
];

/// The only model of the hub.
const DOWNLOADED: &str = "hf://org/tiny";
const _: () = assert!(matches!(MODEL.as_bytes(), b"org/tiny"));

/// `source`, the Llama of the fixtures.
fn source(at: &Scenery<'_>) -> io::Result<()> {
    copy_source(at, "source")
}

fn copy_source(at: &Scenery<'_>, name: &str) -> io::Result<()> {
    crate::tree::copy_tree(&fixture("llama/hf"), &at.dir.join(name))
}

/// Its import alone, `nemo`.
fn imported(at: &Scenery<'_>) -> io::Result<()> {
    source(at)?;
    (at.run)(&["import", "source", "--output", "nemo"])?;
    fs::remove_dir_all(at.dir.join("source"))
}

/// The same as NeMo distributes it.
fn distributed(at: &Scenery<'_>) -> io::Result<()> {
    source(at)?;
    (at.run)(&["import", "source", "--output", "nemo", "--flavor", "nemo", "--files", "2"])?;
    fs::remove_dir_all(at.dir.join("source"))
}

/// `source`, imported, and lines to train on.
fn trainable(at: &Scenery<'_>) -> io::Result<()> {
    imported(at)?;
    fs::rename(at.dir.join("nemo"), at.dir.join("source"))?;
    let lines = ["the sand is on the sea.", "we ride to the same co.", "we mend the boats."];
    let lines: String = lines.iter().map(|line| format!("{{\"text\": \"{line}\"}}\n")).collect();
    fs::write(at.dir.join("data.jsonl"), lines)
}

/// A run that trained an adapter.
fn adapted(at: &Scenery<'_>) -> io::Result<()> {
    trainable(at)?;
    let args = ["--output", "run", "--seq-length", "32", "--max-steps", "1", "--lora", "2"];
    (at.run)(&[&["finetune", "source", "--data", "data.jsonl"][..], &args].concat())
}

/// A cache with the conversions of `a` and `b`.
fn cached(at: &Scenery<'_>) -> io::Result<()> {
    ["a", "b"].into_iter().try_for_each(|name| {
        copy_source(at, name)?;
        (at.run)(&["import", name])
    })
}

/// The one conversion of a directory that is in the cache.
fn entry(at: &Scenery<'_>, name: &str) -> io::Result<std::path::PathBuf> {
    let mut entries = fs::read_dir(at.dir.join("nemo/connector/_local").join(name))?;
    entries.next().ok_or(io::ErrorKind::NotFound)?.map(|entry| entry.path())
}

//! The plays.

use crate::trace::Call;
use libc::{EINVAL, ENOLCK};

/// Commands on one output, and what they promise together.
pub struct Play {
    /// How it is called.
    pub name: &'static str,
    /// Commands that are run before, one after the other.
    pub before: &'static [&'static [&'static str]],
    /// Commands that are run at the same time.
    pub actors: &'static [&'static [&'static str]],
    /// A command that is run after an order in which an actor was killed: it finds everything whole
    /// and leaves everything tidy.
    pub next: &'static [&'static str],
    /// The output that they share.
    pub target: &'static str,
    /// How many names deep, from the stage on, the names lie that they share.
    pub depth: usize,
    /// What the system is without.
    pub lacks: &'static [Lack],
    /// Whether the output may be absent, once it was there.
    pub vanishes: bool,
}

/// Something that a system does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The file system knows no locks.
    Locks,
    /// Two names cannot be exchanged.
    Exchange,
    /// Nothing can be renamed on the condition that the new name is free, nor exchanged.
    Conditions,
}

impl Lack {
    /// The error of a call that the system does not know.
    pub(super) fn refuses(self, call: &Call) -> Option<i32> {
        /// The argument of `renameat2` that says how.
        const FLAGS: usize = 4;
        let renames =
            |flag: u32| call.syscall.name == "renameat2" && call.args[FLAGS] & u64::from(flag) != 0;
        match self {
            Lack::Locks => (call.syscall.name == "flock").then_some(ENOLCK),
            Lack::Exchange => renames(libc::RENAME_EXCHANGE).then_some(EINVAL),
            Lack::Conditions => {
                renames(libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE).then_some(EINVAL)
            }
        }
    }
}

const A: &[&str] = &["import", "../source/hf", "--output", "out", "--threads", "1", "-q"];
const B: &[&str] =
    &["import", "../source/hf", "--output", "out", "--threads", "1", "-q", "--dtype", "bf16"];
const A_OVER: &[&str] =
    &["import", "../source/hf", "--output", "out", "--threads", "1", "-q", "--overwrite"];
const B_OVER: &[&str] = &[
    "import",
    "../source/hf",
    "--output",
    "out",
    "--threads",
    "1",
    "-q",
    "--dtype",
    "bf16",
    "--overwrite",
];
const CACHED: &[&str] = &["import", "../source/hf", "--threads", "1", "-q"];
const CACHED_ANEW: &[&str] = &["import", "../source/hf", "--threads", "1", "-q", "--overwrite"];
const GC: &[&str] = &["cache", "gc", "-q"];
const RM: &[&str] = &["cache", "rm", "_local/hf", "-q"];
const IN_CACHE: &str = "nemo/connector/_local/hf/KEY";

const NEW: Play = Play {
    name: "new",
    before: &[],
    actors: &[A, B],
    next: A,
    target: "out",
    depth: 1,
    lacks: &[],
    vanishes: false,
};

const REPLACE: Play = Play { name: "replace", before: &[B], actors: &[A_OVER, B_OVER], ..NEW };

const CACHE: Play = Play {
    name: "cache",
    actors: &[CACHED, CACHED],
    next: CACHED,
    target: IN_CACHE,
    depth: 5,
    ..NEW
};

/// Every play.
pub const PLAYS: &[Play] = &[
    NEW,
    Play { name: "new, no locks", lacks: &[Lack::Locks], ..NEW },
    Play { name: "new, no locks, no conditions", lacks: &[Lack::Locks, Lack::Conditions], ..NEW },
    Play { name: "new, three", actors: &[A, B, A], ..NEW },
    Play { name: "new and replace", actors: &[A, B_OVER], ..NEW },
    Play { name: "new and replace, no locks", actors: &[A, B_OVER], lacks: &[Lack::Locks], ..NEW },
    REPLACE,
    Play { name: "replace, no locks", lacks: &[Lack::Locks], ..REPLACE },
    Play { name: "replace, no exchange", lacks: &[Lack::Exchange], vanishes: true, ..REPLACE },
    Play {
        name: "replace, no locks, no exchange",
        lacks: &[Lack::Locks, Lack::Exchange],
        vanishes: true,
        ..REPLACE
    },
    CACHE,
    Play { name: "cache, no locks", lacks: &[Lack::Locks], ..CACHE },
    Play { name: "cache anew", before: &[CACHED], actors: &[CACHED_ANEW, CACHED], ..CACHE },
    Play { name: "cache and gc", actors: &[CACHED, GC], ..CACHE },
    Play { name: "cache and gc, no locks", actors: &[CACHED, GC], lacks: &[Lack::Locks], ..CACHE },
    Play {
        name: "cache and rm",
        before: &[CACHED],
        actors: &[CACHED_ANEW, RM],
        vanishes: true,
        ..CACHE
    },
    Play {
        name: "cache, rm and gc, no locks",
        before: &[CACHED],
        actors: &[CACHED_ANEW, RM, GC],
        lacks: &[Lack::Locks],
        vanishes: true,
        ..CACHE
    },
];

/// The play of this name.
pub fn find(name: &str) -> Option<&'static Play> {
    PLAYS.iter().find(|play| play.name == name)
}

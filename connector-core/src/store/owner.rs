//! Processes as the names of files tell them apart, where no lock does.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// A process, and a number that no other thing of it has: `17-5f1c09a3b2d4e687-0badcafe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// The boot of the machine and the set of processes in which `pid` means this one; 0 if the
    /// system does not say.
    among: u64,
    number: u32,
}

impl Owner {
    /// This process.
    pub fn new() -> Self {
        // The standard library's random numbers; a crate for them would be one more.
        let number = RandomState::new().hash_one(0) as u32;
        Owner { pid: std::process::id(), among: processes().unwrap_or(0), number }
    }

    /// The one that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (pid, among, number) = (parts.next()?, parts.next()?, parts.next()?);
        let owner = Owner {
            pid: pid.parse().ok()?,
            among: u64::from_str_radix(among, 16).ok()?,
            number: u32::from_str_radix(number, 16).ok()?,
        };
        // Written in one way only.
        (owner.to_string() == text).then_some(owner)
    }

    /// Whether it is certain that the process is gone. Of another machine or container, and after
    /// the machine was started again, it is not.
    pub fn is_dead(&self) -> bool {
        self.among != 0 && processes() == Some(self.among) && !exists(self.pid)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { pid, among, number } = self;
        write!(f, "{pid}-{among:016x}-{number:08x}")
    }
}

/// What process numbers are counted in: a boot of the machine, and a namespace of it, since
/// containers count from 1 each.
#[cfg(target_os = "linux")]
fn processes() -> Option<u64> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(boot.as_bytes()).update(namespace.as_os_str().as_encoded_bytes());
    let hash = hasher.finalize();
    hash.as_bytes().first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(not(target_os = "linux"))]
fn processes() -> Option<u64> {
    None
}

#[cfg(unix)]
fn exists(pid: u32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // One of another user is there, too, though it may not be signalled.
    pid.is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn exists(_pid: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_no_other_is() {
        let (one, other) = (Owner::new(), Owner::new());
        assert_ne!(one, other);
        assert_eq!(Owner::parse(&one.to_string()), Some(one));
        for text in ["", "17", "17-0-0", "x-0000000000000000-00000000", "1-2-3-4", "-1--2"] {
            assert_eq!(Owner::parse(text), None, "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_who_is_known_to_be_gone_is_dead() {
        let me = Owner::new();
        assert!(!me.is_dead());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let gone = Owner { pid: child.id(), ..me.clone() };
        assert!(gone.is_dead());
        // Its number says nothing elsewhere.
        assert!(!Owner { among: me.among ^ 1, ..gone.clone() }.is_dead());
        assert!(!Owner { among: 0, ..gone }.is_dead());
        // Another user's.
        assert!(!Owner { pid: 1, ..me }.is_dead());
    }
}

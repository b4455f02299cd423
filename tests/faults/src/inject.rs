//! What goes wrong at a call.

use crate::scene::{Key, Ran, Scene, Verdict, Watch};
use crate::trace::{Action, Call, Errno, Kind};
use std::fmt;
use std::io;
use std::str::FromStr;

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails.
    Fails(Errno),
    /// It moves half of its bytes.
    Short,
    /// It says that there are no bytes left.
    End,
    /// The process is killed before it.
    KillBefore,
    /// The process is killed after it.
    KillAfter,
}

/// The names of the errors that are made.
const ERRORS: [(&str, i32); 11] = [
    ("EIO", libc::EIO),
    ("ENOSPC", libc::ENOSPC),
    ("EDQUOT", libc::EDQUOT),
    ("EINTR", libc::EINTR),
    ("EACCES", libc::EACCES),
    ("EPERM", libc::EPERM),
    ("EMFILE", libc::EMFILE),
    ("ENOMEM", libc::ENOMEM),
    ("ENOLCK", libc::ENOLCK),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("EXDEV", libc::EXDEV),
];

/// The names of the other faults.
const OTHERS: [(&str, Fault); 4] = [
    ("short", Fault::Short),
    ("end", Fault::End),
    ("kill-before", Fault::KillBefore),
    ("kill-after", Fault::KillAfter),
];

impl Fault {
    /// Everything that may go wrong at a call of this key: what file systems really do there.
    pub fn all(key: &Key) -> Vec<Fault> {
        let errors: &[i32] = match key.kind {
            Kind::Open if key.creates => {
                &[libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR, libc::EMFILE]
            }
            Kind::Open => &[libc::EIO, libc::EACCES, libc::EINTR, libc::EMFILE],
            Kind::Read => &[libc::EIO, libc::EINTR],
            Kind::Write => &[libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR],
            Kind::Copy => &[libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR, libc::EXDEV],
            Kind::Sync => &[libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR],
            Kind::Resize => &[libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR],
            // There is nothing of a directory that closing it could write.
            Kind::Close if key.on_directory => &[],
            Kind::Close => &[libc::EIO, libc::ENOSPC, libc::EDQUOT],
            Kind::Rename | Kind::Link | Kind::Make => &[libc::EIO, libc::ENOSPC, libc::EDQUOT],
            Kind::Remove => &[libc::EIO, libc::EACCES],
            Kind::Look => &[libc::EIO, libc::EACCES],
            Kind::List | Kind::Advise => &[libc::EIO],
            Kind::Lock => &[libc::EIO, libc::ENOLCK, libc::EINTR],
            Kind::Map => &[libc::EIO, libc::ENOMEM],
            Kind::Change => &[libc::EIO, libc::EPERM],
        };
        let mut all: Vec<Fault> = errors.iter().map(|&errno| Fault::Fails(Errno(errno))).collect();
        if key.name == "fallocate" {
            all.push(Fault::Fails(Errno(libc::EOPNOTSUPP)));
        }
        if matches!(key.kind, Kind::Read | Kind::Write | Kind::Copy) {
            all.extend([Fault::Short, Fault::End]);
        }
        all.extend([Fault::KillBefore, Fault::KillAfter]);
        all
    }

    /// Whether the process is killed.
    pub fn kills(self) -> bool {
        matches!(self, Fault::KillBefore | Fault::KillAfter)
    }

    fn verdict(self, kind: Kind) -> Verdict {
        Verdict::Act(match self {
            // The descriptor is gone in any case.
            Fault::Fails(errno) if kind == Kind::Close => Action::MakeAndFail(errno),
            Fault::Fails(errno) => Action::Fail(errno),
            Fault::Short => Action::Shorten,
            Fault::End => Action::End,
            Fault::KillBefore => return Verdict::KillBefore,
            Fault::KillAfter => return Verdict::KillAfter,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Fault::Fails(Errno(errno)) => ERRORS.iter().find(|e| e.1 == *errno).map(|e| e.0),
            other => OTHERS.iter().find(|o| o.1 == *other).map(|o| o.0),
        };
        f.pad(name.unwrap_or("?"))
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let error = ERRORS.iter().find(|error| error.0 == name);
        let other = OTHERS.iter().find(|other| other.0 == name);
        let fault = error.map(|error| Fault::Fails(Errno(error.1))).or(other.map(|other| other.1));
        fault.ok_or_else(|| format!("no fault is called {name}"))
    }
}

/// Runs the command of a scene, anew, with one fault. Whether it came to the call is the second.
///
/// # Errors
/// As [`Scene::run`].
pub fn run(scene: &Scene, key: &Key, fault: Fault) -> io::Result<(Ran, bool)> {
    scene.reset()?;
    let mut inject = Inject { key, fault, hit: false };
    let ran = scene.run(scene.case.args, &mut inject)?;
    Ok((ran, inject.hit))
}

struct Inject<'a> {
    key: &'a Key,
    fault: Fault,
    hit: bool,
}

impl Watch for Inject<'_> {
    fn call(&mut self, call: &Call, key: &Key) -> Verdict {
        if self.hit || key != self.key {
            return Verdict::Act(Action::Make);
        }
        self.hit = true;
        self.fault.verdict(call.kind())
    }
}

/// Nothing goes wrong.
pub struct Undisturbed;

impl Watch for Undisturbed {
    fn call(&mut self, _: &Call, _: &Key) -> Verdict {
        Verdict::Act(Action::Make)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_shown() {
        let (name, creates, on_directory) = ("fallocate", true, false);
        let key = |kind| Key { name, kind, creates, on_directory, paths: vec![], nth: 0 };
        for kind in [Kind::Write, Kind::Resize, Kind::Lock, Kind::Look, Kind::Change, Kind::Map] {
            for fault in Fault::all(&key(kind)) {
                assert_eq!(fault.to_string().parse(), Ok(fault));
            }
        }
        assert!("EWHAT".parse::<Fault>().is_err());
    }
}

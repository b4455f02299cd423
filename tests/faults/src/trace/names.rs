//! Which files the arguments of a call name.

use super::calls::Names;
use super::sys::Tid;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What the kernel appends to the name of a file that has lost it.
const DELETED: &[u8] = b" (deleted)";

/// The files that a call of `thread` names, absolute; none that cannot be told.
pub(super) fn files(thread: Tid, names: Names, args: &[u64; 6]) -> Vec<PathBuf> {
    let fd = |arg: usize| descriptor(thread, args[arg]);
    let path = |arg: usize| below(working_directory(thread), text(thread, args[arg]));
    let at = |dir: usize, arg: usize| {
        let dir = if args[dir] as i32 == libc::AT_FDCWD {
            working_directory(thread)
        } else {
            descriptor(thread, args[dir])
        };
        below(dir, text(thread, args[arg]))
    };
    let named = match names {
        Names::Fd(a) => [fd(a), None],
        Names::Fds(a, b) => [fd(a), fd(b)],
        Names::Path(a) => [path(a), None],
        Names::Paths(a, b) => [path(a), path(b)],
        Names::At(dir, a) => [at(dir, a), None],
        Names::Ats([dir, a], [other, b]) => [at(dir, a), at(other, b)],
    };
    named.into_iter().flatten().collect()
}

/// Where a descriptor leads to, by a name that opens it again.
pub(super) fn of_descriptor(thread: Tid, fd: u64) -> PathBuf {
    format!("/proc/{thread}/fd/{}", fd as i32).into()
}

fn descriptor(thread: Tid, fd: u64) -> Option<PathBuf> {
    let mut path = fs::read_link(of_descriptor(thread, fd)).ok()?.into_os_string().into_vec();
    if path.ends_with(DELETED) {
        path.truncate(path.len() - DELETED.len());
    }
    Some(std::ffi::OsString::from_vec(path).into())
}

fn working_directory(thread: Tid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/cwd")).ok()
}

/// `path` from `dir` on; an empty one is `dir` itself. Components that say nothing are left out.
fn below(dir: Option<PathBuf>, path: Option<PathBuf>) -> Option<PathBuf> {
    let path = path?;
    if path.is_absolute() {
        return Some(path.components().collect());
    }
    Some(dir?.join(path).components().collect())
}

/// The text at an address of the thread's memory, up to its zero; `None` where there is none.
fn text(thread: Tid, address: u64) -> Option<PathBuf> {
    if address == 0 {
        return Some(PathBuf::new());
    }
    let text = read_text(thread, address).ok()?;
    Some(Path::new(std::ffi::OsStr::from_bytes(&text)).into())
}

fn read_text(thread: Tid, address: u64) -> io::Result<Vec<u8>> {
    /// Reads end where pages do: the one after may not be there.
    const PAGE: u64 = 4096;
    let memory = File::open(format!("/proc/{thread}/mem"))?;
    let (mut text, mut at) = (Vec::new(), address);
    while text.len() < libc::PATH_MAX as usize {
        let mut part = vec![0; (PAGE - at % PAGE) as usize];
        memory.read_exact_at(&mut part, at)?;
        if let Some(end) = part.iter().position(|&byte| byte == 0) {
            text.extend_from_slice(&part[..end]);
            return Ok(text);
        }
        at += part.len() as u64;
        text.append(&mut part);
    }
    Err(io::ErrorKind::InvalidData.into())
}

//! The system calls of a tracer, with results of Rust.

use super::arch;
use super::calls::all;
use std::io;
use std::mem::{offset_of, size_of, zeroed};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A thread's number, as the kernel counts them.
pub(super) type Tid = libc::pid_t;

/// A request to a thread that is stopped.
fn ptrace(request: libc::c_uint, thread: Tid, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: whoever gives an address in `data` owns what lies there, see the callers. Otherwise
    // the call changes the other process alone.
    match unsafe { libc::ptrace(request, thread, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Lets a thread go on, with a signal if it is to get one.
pub(super) fn go_on(thread: Tid, signal: i32) -> io::Result<()> {
    unless_gone(ptrace(libc::PTRACE_CONT, thread, 0, signal as usize))
}

/// Lets a thread go on until the call that it is about to make has returned.
pub(super) fn go_on_to_return(thread: Tid) -> io::Result<()> {
    unless_gone(ptrace(libc::PTRACE_SYSCALL, thread, 0, 0))
}

/// A thread that was killed while it was held knows no request any more; its end is reported.
pub(super) fn unless_gone<T>(result: io::Result<T>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Asks for stops at filtered calls, for the threads and processes that are made from this one, and
/// for its end with ours.
pub(super) fn set_options(thread: Tid) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SETOPTIONS, thread, 0, options as usize).map(drop)
}

/// The call that a thread is about to make: its number and arguments.
pub(super) fn call(thread: Tid) -> io::Result<(u64, [u64; 6])> {
    let info = syscall_info(thread)?;
    // SAFETY: the kernel filled the variant that belongs to a stop of the filter; of its numbers
    // every pattern of bits is one.
    let seccomp = unsafe { info.u.seccomp };
    Ok((seccomp.nr, seccomp.args))
}

/// What the call of a thread returned: a number, or minus an errno.
pub(super) fn result(thread: Tid) -> io::Result<i64> {
    let info = syscall_info(thread)?;
    // SAFETY: as above, at the end of a call.
    Ok(unsafe { info.u.exit.sval })
}

fn syscall_info(thread: Tid) -> io::Result<libc::ptrace_syscall_info> {
    // SAFETY: it is made of numbers, for which zeros are valid.
    let mut info: libc::ptrace_syscall_info = unsafe { zeroed() };
    let place = &raw mut info as usize;
    // It writes at most so many bytes to `info`.
    ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size_of_val(&info), place)?;
    Ok(info)
}

/// Reads a set of registers.
pub(super) fn registers<R: Copy>(thread: Tid, set: usize) -> io::Result<R> {
    // SAFETY: `R` is a set of registers, numbers for which zeros are valid.
    let mut registers: R = unsafe { zeroed() };
    let place = libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of::<R>() };
    ptrace(libc::PTRACE_GETREGSET, thread, set, &raw const place as usize)?;
    Ok(registers)
}

/// Writes a set of registers.
pub(super) fn set_registers<R: Copy>(thread: Tid, set: usize, mut registers: R) -> io::Result<()> {
    let place = libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of::<R>() };
    unless_gone(ptrace(libc::PTRACE_SETREGSET, thread, set, &raw const place as usize))
}

/// Waits for something to happen to a thread that this thread traces; `None` if there is none.
pub(super) fn wait() -> io::Result<Option<(Tid, i32)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours.
        let thread = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        if thread > 0 {
            return Ok(Some((thread, status)));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ECHILD) => return Ok(None),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

/// Waits for one thread.
pub(super) fn wait_for(thread: Tid) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: `status` is ours.
    match unsafe { libc::waitpid(thread, &mut status, libc::__WALL) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(status),
    }
}

/// Ends a process at once. The call that a thread of it is held before is not made.
pub(super) fn kill(process: Tid) -> io::Result<()> {
    // SAFETY: it concerns the other process alone.
    match unsafe { libc::kill(process, libc::SIGKILL) } {
        -1 => unless_gone::<()>(Err(io::Error::last_os_error())),
        _ => Ok(()),
    }
}

/// Makes the process of `command` stop at its first instruction, and from then on at every call that
/// the table of calls has.
pub(super) fn prepare(command: &mut Command) {
    let filter = filter();
    let child = move || {
        let program = libc::sock_fprog {
            len: filter.len() as libc::c_ushort,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel reads the program, which outlives the calls, and writes nothing.
        let done = unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
                    == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec it makes three system calls and allocates nothing.
    unsafe { command.pre_exec(child) };
}

/// A filter that stops at the calls of the table and lets all others pass.
fn filter() -> Vec<libc::sock_filter> {
    let load = |offset: usize| libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: offset as u32,
    };
    let answer =
        |k| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k };
    // Goes on with the next instruction if it is `k`, else with the one after.
    let unless = |k: u32| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: 1,
        k,
    };
    let skip = |n: u32| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JA) as u16,
        jt: 0,
        jf: 0,
        k: n,
    };
    let mut filter = vec![load(offset_of!(libc::seccomp_data, arch))];
    // Numbers of another architecture, as of 32 bits, mean other calls.
    filter.extend([unless(arch::AUDIT), skip(1), answer(libc::SECCOMP_RET_ALLOW)]);
    filter.push(load(offset_of!(libc::seccomp_data, nr)));
    for call in all() {
        filter.extend([unless(call.number as u32), answer(libc::SECCOMP_RET_TRACE)]);
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    filter
}

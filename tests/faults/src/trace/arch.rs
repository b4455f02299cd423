//! What differs between processors: in which registers a call has its arguments and its result.

use super::sys::{Tid, registers, set_registers};
use std::io;

/// The set of general registers.
const GENERAL: usize = 1;

pub(super) use imp::AUDIT;

/// Makes the thread, which is held before a call, get `result` instead of making it.
pub(super) fn skip(thread: Tid, result: i64) -> io::Result<()> {
    imp::skip(thread, result)
}

/// Gives another result to the call that the thread has just made.
pub(super) fn set_result(thread: Tid, result: i64) -> io::Result<()> {
    let mut general = registers(thread, GENERAL)?;
    *imp::result(&mut general) = result as u64;
    set_registers(thread, GENERAL, general)
}

/// Gives another argument to the call that the thread is held before.
pub(super) fn set_argument(thread: Tid, number: usize, value: u64) -> io::Result<()> {
    let mut general = registers(thread, GENERAL)?;
    *imp::argument(&mut general, number) = value;
    set_registers(thread, GENERAL, general)
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use super::*;
    use libc::user_regs_struct as General;

    /// The architecture as filters see it.
    pub(crate) const AUDIT: u32 = 0xc000_003e;

    pub(super) fn skip(thread: Tid, result: i64) -> io::Result<()> {
        let mut general: General = registers(thread, GENERAL)?;
        (general.orig_rax, general.rax) = (u64::MAX, result as u64);
        set_registers(thread, GENERAL, general)
    }

    pub(super) fn result(general: &mut General) -> &mut u64 {
        &mut general.rax
    }

    pub(super) fn argument(general: &mut General, number: usize) -> &mut u64 {
        match number {
            0 => &mut general.rdi,
            1 => &mut general.rsi,
            2 => &mut general.rdx,
            3 => &mut general.r10,
            4 => &mut general.r8,
            _ => &mut general.r9,
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::*;
    use libc::user_regs_struct as General;

    /// The architecture as filters see it.
    pub(crate) const AUDIT: u32 = 0xc000_00b7;
    /// The set whose one register is the number of the call.
    const CALL: usize = 0x404;

    pub(super) fn skip(thread: Tid, result: i64) -> io::Result<()> {
        set_registers(thread, CALL, -1_i32)?;
        set_result(thread, result)
    }

    pub(super) fn result(general: &mut General) -> &mut u64 {
        &mut general.regs[0]
    }

    pub(super) fn argument(general: &mut General, number: usize) -> &mut u64 {
        &mut general.regs[number]
    }
}

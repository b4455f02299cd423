//! A tracer: runs commands, sees each of their system calls on given files before it is made, and
//! decides what becomes of it.
//!
//! The calls are caught in the kernel, by a filter (seccomp) that stops the thread for its tracer
//! (ptrace): the program makes some of them past libc, so that a library put before libc would not
//! see them. What is read through a mapping of memory is no call, and not seen.
//!
//! ```no_run
//! use connector_faults::trace::{Action, Event, Session};
//! use std::process::Command;
//!
//! let place = std::env::current_dir()?;
//! let mut session = Session::new([place]);
//! session.spawn(Command::new("cp").args(["a", "b"]))?;
//! while let Some(event) = session.next_event()? {
//!     match event {
//!         Event::Call(call) => session.release(&call, Action::Make)?,
//!         Event::Return(returned) => session.resume(&returned)?,
//!         Event::Exit(_, ending) => println!("{ending:?}"),
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod arch;
mod calls;
mod names;
mod session;
mod sys;
#[cfg(test)]
mod tests;

pub use calls::{Kind, Syscall};
pub use session::{Action, Call, Ending, Errno, Event, Process, Return, Session, Thread};

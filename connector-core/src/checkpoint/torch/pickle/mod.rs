//! Python's pickles, as data.
//!
//! A pickle is a program for a stack machine. Each instruction is one byte and its arguments:
//!
//! ```text
//! 80 02            PROTO 2
//! 63 torch\nSize\n GLOBAL          push the name of a class or function
//! 4b 03 4b 04      BININT1 3, 4    push integers
//! 86               TUPLE2          pop two, push (3, 4)
//! 52               REDUCE          pop both: the call torch.Size((3, 4))
//! 71 00            BINPUT 0        note the top of the stack as number 0
//! 2e               STOP            the top of the stack is the result
//! ```
//!
//! Python carries out the calls, which is why a pickle from a stranger can do anything. Here a call
//! is an object that says what would be called with what: nothing is looked up, imported or run.
//!
//! [`Pickle`] reads any program made of the instructions that protocols 2 to 5 use for plain
//! objects; [`Writer`] writes the few that a checkpoint needs.

mod cells;
mod error;
mod literal;
mod machine;
mod opcode;
mod view;
mod writer;

pub use error::PickleError;
pub(crate) use machine::Pickle;
pub(crate) use view::View;
pub(crate) use writer::Writer;

#[cfg(test)]
mod tests;

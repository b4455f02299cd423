use crate::checkpoint::safetensors::shown;

/// Why bytes are no pickle that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The file ends inside an instruction, or without STOP.
    #[error("the pickle ends in the middle, at byte {at}")]
    Ends {
        /// The first byte that is not there.
        at: usize,
    },
    /// An instruction that no checkpoint uses.
    #[error("the pickle has the instruction 0x{opcode:02x} at byte {at}, which no checkpoint uses")]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Where it is.
        at: usize,
    },
    /// An instruction that finds not what it works on.
    #[error("the pickle is malformed at byte {at}: {what}")]
    Malformed {
        /// Where the instruction is.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// It would take too much memory.
    #[error("the pickle has more than {limit} {what}, at byte {at}")]
    TooLarge {
        /// Where the limit is passed.
        at: usize,
        /// The limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// A call of something that is no part of a checkpoint.
    #[error(
        "the pickle calls `{}`, which no checkpoint does: a program that unpickles it would run \
         that; nothing was run here",
        shown(name)
    )]
    Call {
        /// The class or function.
        name: String,
    },
    /// The objects are not those that were expected.
    #[error("{}: expected {expected}, found {found}", shown(place))]
    Unexpected {
        /// The path of the object, `storage_data[3].offset`.
        place: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

//! What the integration tests share: tiny checkpoints, ways to spoil them, a bench on which an
//! import runs, and comparisons that name what differs.
//!
//! Nothing here uses the reader or the writer under test: files are put together by hand and read
//! back by the safetensors crate.

mod bench;
mod child;
mod compare;
mod families;
mod file;
mod hub;
mod memory;
mod model;
mod tensor;
mod tree;

pub use bench::{Bench, accepting, export_options, options};
pub use child::{Child, Ended};
pub use compare::{Stored, assert_same_tensors, read_tensors};
pub use families::{config, config_of, interleave_qkv, llama, mixtral};
pub use file::{encode, index};
pub use hub::{Content, Faults, HubServer, List, MODEL, Redirect};
pub use memory::{Counting, peak};
pub use model::{Model, fixture, fixtures, golden, variant};
pub use tensor::{Fill, Tensor};
pub use tree::{Tree, contents, tree};

//! The torch_save container: `pytorch_model.bin`, the state of a model as `torch.save` writes it.
//!
//! Since torch 1.6 a file is a zip archive, whose members are not compressed:
//!
//! ```text
//! archive/data.pkl       a pickle: {"model.norm.weight": _rebuild_tensor_v2(storage "0", …), …}
//! archive/byteorder      little
//! archive/data/0         the bytes of storage "0"
//! archive/data/1
//! ```
//!
//! Before, it was a row of pickles with the storages behind them. Either is read as data: no code of
//! a pickle is run, nothing is imported, and a call of anything that is no part of a model's state is
//! refused.
//!
//! Several tensors may share a storage, as tied weights do, and a tensor may be a view of one: a
//! part, every second column, the transpose. [`Reader`] gives each as it is, in row-major order.

mod archive;
mod error;
mod legacy;
mod reader;
mod state;
mod strided;

pub use error::{Malformed, Problem};
pub use reader::Reader;

use super::files::Form;

/// How the files are called. torch does not care; these are Hugging Face's names.
pub(crate) const FORM: Form = Form {
    extensions: &["bin", "pt", "pth", "ckpt"],
    single: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
    shard: "pytorch_model-",
    any_name: false,
};

/// The storages of a file by their names.
type Storages = std::collections::HashMap<String, Storage>;

/// Where in a file a storage lies, and its CRC if there is one.
struct Storage {
    bytes: std::ops::Range<u64>,
    crc: Option<u32>,
}

/// The longest pickle of a state: about 300 bytes a tensor.
const LONGEST_PICKLE: u64 = 64 << 20;

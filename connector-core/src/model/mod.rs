//! The models, computed: what an import gives runs on candle, on any of its devices.

mod attention;
mod cache;
mod error;
mod experts;
mod gpt;
mod kernels;
mod linear;
mod load;
mod mlp;
mod norm;
mod parameters;
mod rotary;

pub use cache::KvCache;
pub use error::ModelError;
pub use gpt::GPTModel;
#[cfg(feature = "train")]
pub(crate) use kernels::matmul;
pub use linear::{Adapter, Linear};
pub use load::{GptFamily, LoadOptions, Loaded};
pub use parameters::Parameters;

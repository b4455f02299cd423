//! The models, computed: what an import gives runs on candle, on any of its devices.

mod attention;
mod cache;
mod compare;
mod error;
mod experts;
mod frozen;
mod generate;
mod gpt;
mod kernels;
mod linear;
mod load;
mod mlp;
mod norm;
#[cfg(feature = "oracle")]
mod oracle;
mod parameters;
mod rotary;
mod sampling;
mod tokenizer;

pub use cache::KvCache;
pub use compare::LogitDistance;
pub use error::ModelError;
pub use generate::{Ending, GenerateOptions, Generation};
pub use gpt::GPTModel;
#[cfg(feature = "train")]
pub(crate) use kernels::matmul;
pub use linear::{Adapter, Linear};
pub use load::{GptFamily, LoadOptions, Loaded};
#[cfg(feature = "oracle")]
pub use oracle::oracle_logits;
pub use parameters::Parameters;
pub use sampling::{Sampler, Sampling};
pub use tokenizer::{TextStream, Tokenizer};

//! The models, computed: what an import gives runs on candle, on any of its devices.
//!
//! [`GPTModel`] has the parameters of Megatron-core's model of that name, in its layouts: the rows of
//! `linear_qkv` by query group, `linear_fc1` as gate over up. It takes names and shapes from the
//! schemas in [`families`](crate::families), and what to compute from their
//! [`GptConfig`](crate::gpt::GptConfig):
//!
//! | | |
//! |---|---|
//! | norms | RMS, plain or zero-centred (Gemma's), in f32 |
//! | positions | rotary embeddings, plain, `linear` or `llama3` |
//! | attention | query groups of any number, causal, within a window; the softmax in f32 |
//! | MLP | gated, with SiLU or GELU (exact or with tanh); or experts, the best of which share a token by the softmax of their scores |
//! | ends | tied or not; Gemma's scaled embedding, whose factor is rounded to the model's type |
//!
//! A model comes from [`GptFamily::load`], which every family has, or from [`Loaded`], which also has
//! its tokenizer and takes any family:
//!
//! ```
//! use connector_core::model::{GenerateOptions, LoadOptions, Loaded};
//! # let checkpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
//!
//! let loaded = Loaded::open(checkpoint, &LoadOptions::default())?;
//! let (model, tokenizer) = (loaded.model()?, loaded.tokenizer()?);
//! let options = GenerateOptions::default().max_tokens(8).stop(loaded.stop_tokens()?);
//! let prompt = tokenizer.encode("The same", true)?;
//! let tokens = model.generate(&prompt, options)?.collect::<Result<Vec<u32>, _>>()?;
//! println!("{}", tokenizer.decode(&tokens)?);
//! # Ok::<(), connector_core::Error>(())
//! ```
//!
//! # Gradients
//!
//! [`Parameters::train`] makes variables of parameters; everything that is computed with one has
//! gradients. An [`Adapter`] adds to any of [`GPTModel::projections`]; the weights below it then get no
//! gradients, nor is time spent on them.
//!
//! candle's fused kernels for the softmax, RMS norms and rotary embeddings have no backward pass. They are
//! used all the same: each has one here, which is grafted on its result.
//!
//! # Types
//!
//! A model computes in one type, f32, bf16, f16 or f64. A device that does not multiply bf16 multiplies
//! in f32 and rounds, as PyTorch does, but slowly: [`LoadOptions`] takes f32 there by default.
//!
//! # What is not here
//!
//! One device computes a model: there is no tensor, pipeline or expert parallelism. The loss that
//! keeps experts equally busy (`moe_aux_loss_coeff`) is not computed, nor is the noise of routers
//! (`moe_input_jitter_eps`); both are of training alone. With a window the cache holds all tokens all
//! the same.

mod adapter;
mod attention;
mod base;
mod cache;
mod compare;
mod error;
mod experts;
mod generate;
mod gpt;
mod graft;
mod kernels;
mod linear;
mod load;
mod lora;
mod mlp;
mod norm;
#[cfg(feature = "oracle")]
mod oracle;
mod parameters;
mod rotary;
mod sampling;
mod tokenizer;

#[cfg(feature = "train")]
pub(crate) use adapter::{ADAPTER_METADATA, AdapterMetadata, LoadedAdapter, read_tensors};
pub(crate) use adapter::{parse, refused};
pub(crate) use base::Base;
pub use cache::KvCache;
pub use compare::LogitDistance;
pub use error::ModelError;
pub use generate::{Ending, GenerateOptions, Generation};
pub use gpt::GPTModel;
#[cfg(feature = "train")]
pub(crate) use graft::graft;
pub use linear::{Adapter, Linear};
pub use load::{GptFamily, LoadOptions, Loaded};
pub use lora::Lora;
#[cfg(feature = "train")]
pub(crate) use lora::{IN, OUT};
#[cfg(feature = "oracle")]
pub use oracle::oracle_logits;
pub use parameters::Parameters;
pub use sampling::{Sampler, Sampling};
pub use tokenizer::{TextStream, Tokenizer};

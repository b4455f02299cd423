//! The directories that frameworks for training put around the tensors of a checkpoint.
//!
//! ```text
//! NeMo 2            CKPT/weights/                   the tensors
//!                   CKPT/context/model.yaml         the model's config, to be read
//!                   CKPT/context/io.json            the objects from which NeMo builds the model
//!                   CKPT/context/nemo_tokenizer/    the tokenizer
//!                   CKPT/context/artifacts/         generation_config.json
//!
//! Megatron-LM       CKPT/latest_checkpointed_iteration.txt   "release", or "120" for iter_0000120/
//!                   CKPT/release/                   the tensors; the config is in common.pt: `args`
//!                   CKPT/release/tokenizer/         for `--tokenizer-model`
//!
//! Megatron-Bridge   CKPT/latest_train_state.pt, CKPT/latest_checkpointed_iteration.txt
//!                   CKPT/iter_0000000/              the tensors
//!                   CKPT/iter_0000000/run_config.yaml        the config
//!                   CKPT/iter_0000000/tokenizer/    where Bridge keeps the tokenizer
//! ```
//!
//! What is in the files, [`framework`](crate::framework) knows.

mod find;

pub(crate) use find::Home;
pub(super) use find::is_at;

/// Which framework's directory is put around the tensors of a distributed checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavor {
    /// NeMo 2: `weights/` and `context/`.
    #[default]
    Nemo,
    /// Megatron-LM: an iteration called `release`, of which it wants no optimizer.
    MegatronLm,
    /// Megatron-Bridge: iteration 0, with its `run_config.yaml`.
    MegatronBridge,
}

/// Where the parts of a checkpoint are in its directory, and how its keys begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Directory {
    /// The folder of the tensors.
    pub weights: &'static str,
    /// The folder of the files beside them.
    pub beside: &'static str,
    /// What comes before the model's own names.
    pub prefix: &'static str,
}

impl Flavor {
    /// The framework's name.
    pub fn framework(self) -> &'static str {
        match self {
            Flavor::Nemo => "NeMo",
            Flavor::MegatronLm => "Megatron-LM",
            Flavor::MegatronBridge => "Megatron-Bridge",
        }
    }

    pub(crate) fn directory(self) -> Directory {
        match self {
            Flavor::Nemo => Directory { weights: "weights", beside: "context", prefix: "module." },
            Flavor::MegatronLm => {
                Directory { weights: "release", beside: "release/tokenizer", prefix: "" }
            }
            Flavor::MegatronBridge => {
                Directory { weights: "iter_0000000", beside: "iter_0000000/tokenizer", prefix: "" }
            }
        }
    }
}

/// Megatron-LM's and Megatron-Bridge's file that names the newest iteration.
pub(crate) const TRACKER: &str = "latest_checkpointed_iteration.txt";
/// Where Megatron-Bridge keeps the tokenizer in the directory of an iteration; here of Megatron-LM too.
const TOKENIZER: &str = "tokenizer";

//! What a model refuses to compute with.

/// Why a model does not compute.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Tokens that are not a batch of sequences.
    #[error("the tokens are {shape:?}; a batch is [sequences, tokens], with at least one of each")]
    NotABatch {
        /// The shape of the tokens.
        shape: Vec<usize>,
    },
    /// Tokens that are no integers.
    #[error("the tokens are {dtype}; they should be integers, i64 or u32")]
    NotTokens {
        /// Their type.
        dtype: String,
    },
    /// A token that is not in the vocabulary.
    #[error(
        "token {id} (number {position} of sequence {sequence}) is not in the vocabulary, which has \
         {vocab_size}; is it another model's tokenizer?"
    )]
    NoSuchToken {
        /// The token.
        id: i64,
        /// Which sequence of the batch it is in.
        sequence: usize,
        /// Where it is there.
        position: usize,
        /// The number of tokens in the vocabulary.
        vocab_size: usize,
    },
    /// More tokens than the model was made for.
    #[error(
        "{tokens} tokens are longer than the sequences that the model is for, {seq_length} \
         (`max_position_embeddings`)"
    )]
    TooLong {
        /// The tokens, with those that the cache holds.
        tokens: usize,
        /// The longest sequence.
        seq_length: usize,
    },
    /// A cache that holds the keys and values of other sequences, or of another model.
    #[error("the cache holds {held} sequences, the batch has {batch}")]
    OtherBatch {
        /// The sequences in the cache.
        held: usize,
        /// The sequences in the batch.
        batch: usize,
    },
    /// Lengths of documents that are not those of the rows they are in.
    #[error(
        "the documents of each row have {sums:?} tokens together, but the tokens are {shape:?}"
    )]
    NotTheRows {
        /// The shape of the tokens.
        shape: Vec<usize>,
        /// The sum of the lengths for each row.
        sums: Vec<usize>,
    },
    /// A way to choose tokens that makes no sense.
    #[error("`{name}` is {value}; it should be {range}")]
    Sampling {
        /// Its name in [`Sampling`](super::Sampling).
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Logits that are no numbers.
    #[error(
        "the logits are not numbers: the weights are damaged, or too large for the type that is \
         computed in"
    )]
    NotNumbers,
    /// A tokenizer that cannot be used.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The `tokenizer.json`.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint without a tokenizer.
    #[error(
        "there is no tokenizer.json{}; one is made by transformers with \
         `AutoTokenizer.from_pretrained(…).save_pretrained(DIR)`",
        within(paths)
    )]
    NoTokenizer {
        /// Where it should be; none if the checkpoint has no folder for such files.
        paths: Vec<std::path::PathBuf>,
    },
    /// An adapter whose model is not where it was.
    #[error(
        "{} adapts the model in {}, which is not there; put it back, or give the place where it is \
         now", adapter.display(), base.display()
    )]
    NoBase {
        /// The checkpoint of the adapter.
        adapter: std::path::PathBuf,
        /// Where its model should be.
        base: std::path::PathBuf,
    },
    /// A `generation_config.json` or `config.json` that does not say which token ends a text.
    #[error("{}: {problem}", path.display())]
    GenerationConfig {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Logits that cannot be compared.
    #[error("the model's logits are {model:?}, the reference's {reference:?}")]
    OtherShape {
        /// The shape of the model's.
        model: Vec<usize>,
        /// The shape of the reference's.
        reference: Vec<usize>,
    },
    /// A model that candle-transformers does not compute.
    #[error("candle-transformers does not compute this model: {reason}")]
    NotCovered {
        /// Why.
        reason: String,
    },
}

/// ` in A or B`.
fn within(paths: &[std::path::PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if paths.is_empty() {
        " beside the weights".into()
    } else {
        format!(" in {}", paths.join(" or "))
    }
}

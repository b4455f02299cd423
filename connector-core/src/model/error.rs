//! What a model refuses to compute with.

/// Why a model does not compute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Tokens that are not a batch of sequences.
    #[error("the tokens are {shape:?}; a batch is [sequences, tokens], with at least one of each")]
    NotABatch {
        /// The shape of the tokens.
        shape: Vec<usize>,
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
}

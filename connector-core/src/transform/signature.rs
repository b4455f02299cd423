use crate::key::Role;

/// What an operation takes and gives, for the compiler: [`Role`]s.
///
/// An operation by moves that takes rows apart or puts them together takes tensors that are stored
/// `[out, in]`: a transposed one has its rows elsewhere.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Signature {
    /// Nothing is known.
    Unknown,
    /// What it gives is what it takes.
    Keeps,
    /// The same, of embeddings and heads.
    OfVocabulary,
    /// The last two dimensions change places.
    Transposes,
    /// One tensor after the other.
    Concatenates,
    /// A tensor is cut into those that it is made of.
    Cuts,
    /// A weight and its scales become the weight.
    Dequantises,
    /// These become those. What has no meaning is what the first tensor is.
    Makes {
        /// What it takes.
        takes: &'static [Role<'static>],
        /// What it gives.
        gives: &'static [Role<'static>],
    },
}

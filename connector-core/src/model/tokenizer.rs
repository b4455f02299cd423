//! Text to tokens and back.
//!
//! A `tokenizer.json` from a stranger makes the crate panic in several places, and some texts ever
//! longer. Both are errors that name the file: panics are caught around every call, and how much a text
//! may grow is known before it is given to the crate.

mod growth;

use self::growth::Growth;
use super::ModelError;
use crate::Result;
use crate::base::panics;
use crate::store;
use std::io::Read;
use std::path::{Path, PathBuf};
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

/// A tokenizer as Hugging Face's library has it, in one `tokenizer.json`.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    growth: Growth,
}

/// The longest file. Gemma's, with 256,000 tokens, has 35 MB.
const LONGEST: u64 = 256 << 20;

/// Text from tokens that come one after the other.
pub struct TextStream<'t> {
    tokenizer: &'t Tokenizer,
    inner: tokenizers::DecodeStream<
        't,
        ModelWrapper,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >,
}

impl Tokenizer {
    /// The name of its file.
    pub const FILE: &'static str = "tokenizer.json";

    /// Opens a `tokenizer.json`. What it says of truncation and padding, which are for training in
    /// batches, is left out.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if it is none, or one of those that would take all memory;
    /// [`Io`](crate::store::Error::Io).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |reason| ModelError::Tokenizer { path: path.into(), reason };
        let file = std::fs::File::open(path).map_err(store::Error::io("read", path))?;
        let mut json = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut json).map_err(store::Error::io("read", path))?;
        if json.len() as u64 > LONGEST {
            return Err(failed(format!("it has more than {} MiB", LONGEST >> 20)).into());
        }
        let growth = Growth::of(&json).map_err(failed)?;
        let inner = caught(path, || {
            let mut inner = tokenizers::Tokenizer::from_bytes(&json)?;
            inner.with_truncation(None)?;
            inner.with_padding(None);
            Ok(inner)
        })?;
        Ok(Tokenizer { path: path.into(), inner, growth })
    }

    /// The tokens of a text. `special` says that those are added which the tokenizer puts around a
    /// text, as `<s>`.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if it cannot.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        Ok(self.encoding(text, special)?.get_ids().to_vec())
    }

    /// The tokens of a text, with where in it each stands, in bytes.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encoding(&self, text: &str, special: bool) -> Result<tokenizers::Encoding> {
        self.growth.admit(text.len()).map_err(|reason| self.failed(reason))?;
        Ok(caught(&self.path, || self.inner.encode(text, special))?)
    }

    /// How a token is written.
    #[cfg(all(test, feature = "train"))]
    pub(crate) fn spelling(&self, token: u32) -> Option<String> {
        self.inner.id_to_token(token)
    }

    /// The text of tokens, without special ones.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if it cannot.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.admit(tokens)?;
        Ok(caught(&self.path, || self.inner.decode(tokens, true))?)
    }

    /// Text as it comes.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, inner: self.inner.decode_stream(true) }
    }

    /// The number of a token that is written so.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// Refuses tokens whose text would become too long.
    fn admit(&self, tokens: &[u32]) -> Result<()> {
        let len = |&token: &u32| self.inner.id_to_token(token).map_or(0, |text| text.len());
        let bytes = tokens.iter().map(len).fold(0, usize::saturating_add);
        Ok(self.growth.admit_tokens(bytes).map_err(|reason| self.failed(reason))?)
    }

    fn failed(&self, reason: String) -> ModelError {
        ModelError::Tokenizer { path: self.path.clone(), reason }
    }
}

impl TextStream<'_> {
    /// The text that `token` adds; nothing as long as a character is not complete.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the token is none of the tokenizer's.
    pub fn push(&mut self, token: u32) -> Result<String> {
        self.tokenizer.admit(&[token])?;
        let text = caught(&self.tokenizer.path, || self.inner.step(token))?;
        Ok(text.unwrap_or_default())
    }
}

/// Calls the crate.
fn caught<T>(path: &Path, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, ModelError> {
    let reason = match panics::catch_quietly(call) {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("the crate tokenizers cannot take it: {panic}"),
    };
    Err(ModelError::Tokenizer { path: path.into(), reason })
}

//! Text to tokens and back.

use super::ModelError;
use crate::Result;
use std::path::{Path, PathBuf};
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

/// A tokenizer as Hugging Face's library has it, in one `tokenizer.json`.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
}

/// Text from tokens that come one after the other.
pub struct TextStream<'t> {
    path: &'t Path,
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
    /// [`ModelError::Tokenizer`] if it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = failed(path);
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(&failed)?;
        inner.with_truncation(None).map_err(&failed)?;
        inner.with_padding(None);
        Ok(Tokenizer { path: path.into(), inner })
    }

    /// The tokens of a text. `special` says that those are added which the tokenizer puts around a
    /// text, as `<s>`.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if it cannot.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode(text, special).map_err(failed(&self.path))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of many texts, on all cores, with where in its text each stands, in bytes. Special
    /// ones are added.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if it cannot.
    #[cfg(feature = "train")]
    pub(crate) fn encode_all(&self, texts: Vec<String>) -> Result<Vec<tokenizers::Encoding>> {
        Ok(self.inner.encode_batch(texts, true).map_err(failed(&self.path))?)
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
        Ok(self.inner.decode(tokens, true).map_err(failed(&self.path))?)
    }

    /// Text as it comes.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { path: &self.path, inner: self.inner.decode_stream(true) }
    }

    /// The number of a token that is written so.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }
}

impl TextStream<'_> {
    /// The text that `token` adds; nothing as long as a character is not complete.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] if the token is none of the tokenizer's.
    pub fn push(&mut self, token: u32) -> Result<String> {
        let text = self.inner.step(token).map_err(failed(self.path))?;
        Ok(text.unwrap_or_default())
    }
}

fn failed(path: &Path) -> impl Fn(tokenizers::Error) -> ModelError {
    |error| ModelError::Tokenizer { path: path.into(), reason: error.to_string() }
}

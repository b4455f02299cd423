//! Text, one token after the other.

use super::{GPTModel, KvCache, Sampler, Sampling};
use crate::base::options;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

options! {
/// How a text is continued.
pub struct GenerateOptions {
    /// The most tokens that are added.
    pub max_tokens: usize = 128,
    /// How each is chosen.
    pub sampling: Sampling = Sampling::default(),
    /// Tokens that end the text: `eos_token_id` of `generation_config.json`.
    pub stop: Vec<u32> = Vec::new(),
}
}

/// Why a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The model ended it.
    Stop,
    /// It has as many tokens as were asked for.
    MaxTokens,
    /// It is as long as the sequences that the model is for.
    SeqLength,
}

/// A text that is being continued: the tokens that follow, without the one that ends it.
#[derive(Debug)]
pub struct Generation<'m> {
    model: &'m GPTModel,
    cache: KvCache,
    /// What the model has not seen yet.
    unseen: Vec<u32>,
    sampler: Sampler,
    stop: Vec<u32>,
    left: usize,
    ending: Option<Ending>,
}

impl GPTModel {
    /// Continues a text. The prompt is computed with the first token that is taken from the result.
    ///
    /// ```
    /// use connector_core::DeviceChoice;
    /// use connector_core::families::LlamaModel;
    /// use connector_core::model::{GenerateOptions, GptFamily};
    /// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
    ///
    /// let model = LlamaModel::load(fixture, None, DeviceChoice::default())?;
    /// let options = GenerateOptions::default().max_tokens(4);
    /// let tokens = model.generate(&[1, 17, 42], options)?.collect::<Result<Vec<u32>, _>>()?;
    /// assert_eq!(tokens.len(), 4);
    /// # Ok::<(), connector_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Model`] if the prompt is empty or longer than the sequences that the model is for,
    /// has a token that is not in the vocabulary, or the sampling makes no sense. Each item may fail
    /// as [`hidden`](Self::hidden) does.
    pub fn generate(&self, prompt: &[u32], options: GenerateOptions) -> Result<Generation<'_>> {
        let GenerateOptions { max_tokens, sampling, stop } = options;
        let tokens = Tensor::new(prompt, self.device()).and_then(|tokens| tokens.unsqueeze(0));
        self.check(&tokens.map_err(Error::candle)?, 0, None)?;
        Ok(Generation {
            model: self,
            cache: self.cache(),
            unseen: prompt.to_vec(),
            sampler: Sampler::new(sampling)?,
            stop,
            left: max_tokens,
            ending: None,
        })
    }
}

impl Generation<'_> {
    /// Why it has ended; `None` as long as it has not, and after an error.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    fn step(&mut self) -> Result<Option<u32>> {
        let length = self.cache.len() + self.unseen.len();
        if self.left == 0 {
            self.ending = Some(Ending::MaxTokens);
            return Ok(None);
        }
        if length >= self.model.config().seq_length {
            self.ending = Some(Ending::SeqLength);
            return Ok(None);
        }
        let logits = self.logits()?;
        let token = self.sampler.choose(&logits)?;
        if self.stop.contains(&token) {
            self.ending = Some(Ending::Stop);
            return Ok(None);
        }
        self.left -= 1;
        self.unseen = vec![token];
        Ok(Some(token))
    }

    /// The logits of the next token.
    fn logits(&mut self) -> Result<Vec<f32>> {
        let (model, len) = (self.model, self.unseen.len());
        let tokens = Tensor::from_slice(&self.unseen, (1, len), model.device());
        let hidden = model.hidden(&tokens.map_err(Error::candle)?, Some(&mut self.cache))?;
        let last = hidden.narrow(1, len - 1, 1).map_err(Error::candle)?;
        let logits = model.logits(&last)?;
        let logits = logits.to_dtype(DType::F32).and_then(|x| x.flatten_all()?.to_vec1());
        logits.map_err(Error::candle)
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Result<u32>> {
        if self.ending.is_some() || self.unseen.is_empty() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.unseen.clear();
        }
        step.transpose()
    }
}

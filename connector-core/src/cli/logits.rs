//! `logits`: what a model computes, for others to look at; and `verify --logits`, which holds it
//! against what others compute.

use super::args::{CompareLogits, Computed, Logits, Verify};
use super::exit::Exit;
use super::failure::Failure;
use super::new_file::{check_new, write_new};
use super::screen::Screen;
use super::style::{BAD, GOOD};
use super::{source, text};
use crate::model::{LoadOptions, Loaded, LogitDistance};
use crate::store;
use crate::{CandleError, DeviceChoice, Error};
use candle_core::{DType, Device, Tensor};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// The names of the tensors in files of tokens and logits.
const IDS: &str = "input_ids";
const LOGITS: &str = "logits";

pub(super) fn run(args: &Logits, screen: &mut Screen) -> Result<Exit, Failure> {
    let Logits { computed: Computed { checkpoint, device, .. }, ids, out, .. } = args;
    check_new(out)?;
    let device = device.open()?;
    let tokens = named(ids, IDS, &device)?;
    let model = Loaded::open(checkpoint, &args.computed.options()?)
        .and_then(|loaded| loaded.model())
        .map_err(|error| source::explain(checkpoint, error))?;
    let logits = model.logits_of(&tokens)?;
    let shape = logits.dims().to_vec();
    let file = safetensors::serialize([(IDS, &tokens), (LOGITS, &logits)], None);
    let file = file.map_err(|error| CandleError(error.to_string()))?;
    write_new(out, &file)?;
    let mut page = screen.page();
    page.field("model", &checkpoint.display().to_string());
    let dtype = text::dtype(format!("{:?}", model.dtype()).to_lowercase());
    page.field("logits", &format!("{} f32, computed in {dtype}", text::shape(&shape)));
    page.field("written", &out.display().to_string());
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.logits/1",
            "checkpoint": checkpoint.to_string_lossy(),
            "out": out.to_string_lossy(),
            "shape": shape,
            "dtype": dtype,
        })
    });
    Ok(Exit::Ok)
}

/// Compares what the checkpoint's model computes with what the source's does.
pub(super) fn verify(args: &Verify, screen: &mut Screen) -> Result<Exit, Failure> {
    let Verify {
        source,
        checkpoint,
        logits: CompareLogits { reference, ids, base, tolerance, .. },
        ..
    } = args;
    let choice: DeviceChoice = args.resources.device;
    let device = choice.open()?;
    let options = LoadOptions {
        format: args.format.clone(),
        model: args.model.clone(),
        trained: args.trained.options(),
        base: base.clone(),
        dtype: Some(DType::F32),
        device: choice,
    };
    let model = Loaded::open(checkpoint, &options)
        .and_then(|loaded| loaded.model())
        .map_err(|error| source::explain(checkpoint, error))?;
    let (tokens, want, by) = match reference {
        Some(file) => {
            let by = file.display().to_string();
            (named(file, IDS, &device)?, named(file, LOGITS, &device)?, by)
        }
        None => {
            let tokens = match ids {
                Some(file) => named(file, IDS, &device)?,
                None => some_tokens(model.config().vocab_size, model.config().seq_length, &device)?,
            };
            let want = oracle(source, &tokens, &device)?;
            (tokens, want, "candle-transformers".to_string())
        }
    };
    let distance = LogitDistance::between(&model.logits_of(&tokens)?, &want)?;
    let LogitDistance { tokens, largest, at, logits, mean, scale, same_choice } = distance;
    let equal = largest <= *tolerance;
    let mut page = screen.page();
    page.field("source", &format!("{}, computed by {by}", source.display()));
    page.field("against", &format!("{}, computed by connector in f32", checkpoint.display()));
    let (label, style) = if equal { ("equal", GOOD) } else { ("differ", BAD) };
    let line = format!(
        "{} apart at most, {} is allowed; logits are up to {scale:.1}, {} of {} have the same \
         next one",
        short(largest),
        short(*tolerance),
        text::amount(same_choice as u64),
        text::count(tokens, "token"),
    );
    page.styled_field(label, style, &line);
    page.more(&format!("{} in the mean", short(mean)));
    if !equal {
        let [sequence, position, token] = at;
        let [ours, theirs] = logits;
        page.more(&format!(
            "the farthest: sequence {sequence}, token {position}, logit {token} is {ours} here, \
             {theirs} there"
        ));
    }
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.verify-logits/1",
            "source": source.to_string_lossy(),
            "checkpoint": checkpoint.to_string_lossy(),
            "reference": by,
            "is_equal": equal,
            "tolerance": tolerance,
            "tokens": tokens,
            "largest": largest,
            "mean": mean,
            "scale": scale,
            "same_choice": same_choice,
            "farthest": { "index": at, "checkpoint": logits[0], "reference": logits[1] },
        })
    });
    Ok(if equal { Exit::Ok } else { Exit::Verification })
}

fn short(number: f64) -> String {
    if number == 0.0 { "0".into() } else { format!("{number:.1e}") }
}

/// Two sequences of tokens from all over the vocabulary, the same every time.
fn some_tokens(vocabulary: usize, longest: usize, device: &Device) -> Result<Tensor, Failure> {
    let len = longest.min(12);
    let token = |at: usize| (at * at * 7919 + 31 * at + 1) % vocabulary;
    let tokens: Vec<u32> = (0..2 * len).map(|at| token(at) as u32).collect();
    Ok(Tensor::from_vec(tokens, (2, len), device).map_err(Error::candle)?)
}

#[cfg(feature = "oracle")]
fn oracle(source: &Path, tokens: &Tensor, device: &Device) -> Result<Tensor, Failure> {
    let logits = crate::model::oracle_logits(source, tokens, device);
    logits.map_err(|error| {
        let not_covered =
            matches!(&error, Error::Model(crate::model::ModelError::NotCovered { .. }));
        let failure = source::explain(source, error);
        let help = "compute its logits with transformers and give them with --reference FILE";
        if not_covered { failure.help(help) } else { failure }
    })
}

#[cfg(not(feature = "oracle"))]
fn oracle(_: &Path, _: &Tensor, _: &Device) -> Result<Tensor, Failure> {
    let message = "this build has no candle-transformers to compute the source with";
    let help = "build with `--features oracle`, or give its logits with --reference FILE";
    Err(Failure::usage(message).help(help))
}

/// The tensor called `name` in a safetensors file.
fn named(file: &Path, name: &str, device: &Device) -> Result<Tensor, Failure> {
    let bytes = std::fs::read(file).map_err(store::Error::io("read", file))?;
    let malformed = |problem: String| {
        Failure::new(Exit::Io, "malformed-file", format!("{}: {problem}", file.display()))
    };
    let tensors: HashMap<String, Tensor> = candle_core::safetensors::load_buffer(&bytes, device)
        .map_err(|error| malformed(Error::candle(error).to_string()))?;
    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    let absent = || {
        let there = if names.is_empty() { "nothing".into() } else { names.join(", ") };
        malformed(format!("has no tensor `{name}`; it has {there}"))
    };
    tensors.get(name).cloned().ok_or_else(absent)
}

//! `generate`: a text, continued as it is computed.

use super::args::Generate;
use super::exit::Exit;
use super::failure::Failure;
use super::screen::Screen;
use super::{source, text};
use crate::Error;
use crate::model::{Ending, Loaded, ModelError};
use serde_json::json;
use std::time::Instant;

pub(super) fn run(args: &Generate, screen: &mut Screen) -> Result<Exit, Failure> {
    let checkpoint = &args.computed.checkpoint;
    let loaded = Loaded::open(checkpoint, &args.computed.options()?)
        .map_err(|error| source::explain(checkpoint, error))?;
    let tokenizer = loaded.tokenizer().map_err(|error| {
        let is_missing = matches!(&error, Error::Model(ModelError::NoTokenizer { .. }));
        let failure = Failure::from(error);
        let help = "of a checkpoint of training, --hf-config DIR takes it from there";
        if is_missing { failure.help(help) } else { failure }
    })?;
    let model = loaded.model()?;
    let prompt = tokenizer.encode(&args.prompt, true)?;
    if prompt.is_empty() {
        return Err(Failure::usage("the prompt has no tokens; give --prompt some text"));
    }
    let stop = loaded.stop_tokens()?;
    let endless = "neither generation_config.json nor config.json says which token ends a text";
    let warnings: Vec<&str> = stop.is_empty().then_some(endless).into_iter().collect();
    warnings.iter().for_each(|warning| screen.warn(warning));
    // What the tokenizer puts between two words, it knows only of words that follow on others.
    let mut stream = tokenizer.stream();
    for &token in &prompt {
        stream.push(token)?;
    }
    let start = Instant::now();
    let mut generation = model.generate(&prompt, args.options(stop))?;
    let (mut tokens, mut all) = (Vec::new(), String::new());
    for token in generation.by_ref() {
        let token = token?;
        tokens.push(token);
        let piece = stream.push(token)?;
        if !screen.json {
            screen.print(&text::printable_lines(&piece));
        }
        all.push_str(&piece);
    }
    if !screen.json {
        screen.print("\n");
    }
    let (count, time) = (tokens.len(), start.elapsed());
    let (ending, why) = match generation.ending() {
        Some(Ending::MaxTokens) => ("max-tokens", "as many as asked for"),
        Some(Ending::SeqLength) => ("seq-length", "the model takes no longer texts"),
        _ => ("stop", "the model ended it"),
    };
    let speed = count as f64 / time.as_secs_f64().max(f64::EPSILON);
    let counts = [text::count(prompt.len(), "token"), text::count(count, "token")];
    let line = format!(
        "{} after a prompt of {} · {} · {speed:.1} tokens/s · {why}",
        counts[1],
        counts[0],
        text::duration(time)
    );
    screen.note("done", &line);
    screen.document(|| {
        json!({
            "schema": "connector.generate/1",
            "checkpoint": checkpoint.to_string_lossy(),
            "model": loaded.registration.model,
            "dtype": format!("{:?}", model.dtype()).to_lowercase(),
            "prompt": { "text": args.prompt, "tokens": prompt },
            "text": all,
            "tokens": tokens,
            "ending": ending,
            "seconds": time.as_secs_f64(),
            "warnings": warnings,
        })
    });
    Ok(Exit::Ok)
}

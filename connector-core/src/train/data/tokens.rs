//! Examples as tokens, each with whether it is to be learnt.

use super::lines::{Example, Problems};
use crate::Result;
use crate::model::Tokenizer;

/// Where the answer stands in a template.
const OUTPUT: &str = "{output}";
const INPUT: &str = "{input}";

/// How a prompt and its answer become one text: NeMo's `prompt_template`.
#[derive(Clone, Debug)]
pub(super) struct Template {
    before: String,
    /// Between prompt and answer.
    between: String,
    after: String,
}

impl Template {
    /// Parses a text in which `{input}` and, behind it, `{output}` stand once.
    pub fn parse(text: &str) -> Result<Self, String> {
        let once = |name| text.matches(name).count() == 1;
        let parts = text.split_once(INPUT).and_then(|(before, rest)| {
            rest.split_once(OUTPUT).map(|(between, after)| (before, between, after))
        });
        match parts {
            Some((before, between, after)) if once(INPUT) && once(OUTPUT) => {
                Ok(Template { before: before.into(), between: between.into(), after: after.into() })
            }
            _ => Err(format!(
                "is {text:?}; it should have {INPUT} and, behind it, {OUTPUT}, once each"
            )),
        }
    }

    /// The text, and where in it the answer begins, in bytes. White space before the answer belongs
    /// to it, as tokenizers put it to the word that follows.
    fn fill(&self, input: &str, output: &str) -> (String, usize) {
        let prompt = format!("{}{input}{}", self.before, self.between);
        let start = prompt.trim_end().len();
        (format!("{prompt}{output}{}", self.after), start)
    }
}

/// An example as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub ids: Vec<u32>,
    /// The first token that is learnt.
    pub learnt_from: usize,
    /// Whether the example may be cut anywhere: a text may, an answer not.
    pub is_text: bool,
}

/// Turns examples into tokens.
pub(super) struct Encoder<'a> {
    pub tokenizer: &'a Tokenizer,
    pub template: Template,
    /// Ends each example, so that a model learns to stop.
    pub end: Option<u32>,
}

/// How many examples are tokenised together, on all cores.
const BATCH: usize = 1024;

impl Encoder<'_> {
    /// The tokens of each example, with its line.
    ///
    /// A prompt and its answer are tokenised as one text, so that their tokens are those that the
    /// model meets when it is asked; a token over the border belongs to the answer.
    ///
    /// # Errors
    /// [`Error::Refused`] with the lines that cannot be tokenised.
    pub fn encode(
        &self,
        examples: Vec<(usize, Example)>,
        mut problems: Problems,
    ) -> Result<Vec<(usize, Tokens)>> {
        let mut encoded = Vec::with_capacity(examples.len());
        for batch in examples.chunks(BATCH) {
            let (texts, starts): (Vec<String>, Vec<Option<usize>>) = batch
                .iter()
                .map(|(_, example)| match example {
                    Example::Text(text) => (text.clone(), None),
                    Example::Answer { input, output } => {
                        let (text, start) = self.template.fill(input, output);
                        (text, Some(start))
                    }
                })
                .unzip();
            let encodings = self.tokenizer.encode_all(texts)?;
            for (((line, _), start), encoding) in batch.iter().zip(starts).zip(encodings) {
                // Special tokens that a tokenizer adds are at the start of a text, and have no
                // offsets.
                let special = encoding.get_special_tokens_mask();
                let mut ids = encoding.get_ids().to_vec();
                let is_of_answer = |&at: &usize| {
                    start.is_none_or(|start| {
                        special[at] == 0 && encoding.get_offsets()[at].1 > start
                    })
                };
                let Some(learnt_from) = (0..ids.len()).find(is_of_answer) else {
                    problems.add(*line, "has no tokens to learn");
                    continue;
                };
                if let Some(end) = self.end.filter(|end| ids.last() != Some(end)) {
                    ids.push(end);
                }
                encoded.push((*line, Tokens { ids, learnt_from, is_text: start.is_none() }));
            }
        }
        problems.finish()?;
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf/tokenizer.json");
        Tokenizer::open(path.as_ref()).unwrap()
    }

    fn encode(template: &str, example: Example) -> Result<Tokens> {
        let tokenizer = tokenizer();
        let template = Template::parse(template).unwrap();
        let encoder = Encoder { tokenizer: &tokenizer, template, end: Some(2) };
        let problems = Problems::of(Path::new("train.jsonl"));
        Ok(encoder.encode(vec![(5, example)], problems)?.remove(0).1)
    }

    fn answer(input: &str, output: &str) -> Example {
        Example::Answer { input: input.into(), output: output.into() }
    }

    #[test]
    fn only_the_answer_is_learnt() {
        let tokenizer = tokenizer();
        let text =
            |ids: &[u32]| ids.iter().map(|&id| tokenizer.spelling(id).unwrap()).collect::<String>();
        for (template, input, output, prompt, learnt) in [
            ("{input} {output}", "the sand", "is", "<s>▁the▁sand", "▁is</s>"),
            ("{input}{output}", "the ", "sea", "<s>▁the", "▁sea</s>"),
            ("we {input}: {output}.", "ride", "on", "<s>▁we▁ride:", "▁on.</s>"),
            // A token over the border, `▁the`, belongs to the answer.
            ("{input}{output}", "a t", "he", "<s>▁a", "▁the</s>"),
            ("{input}{output}", "", "we", "<s>", "▁we</s>"),
        ] {
            let tokens = encode(template, answer(input, output)).unwrap();
            let (before, after) = tokens.ids.split_at(tokens.learnt_from);
            assert_eq!((text(before), text(after)), (prompt.into(), learnt.into()), "{template}");
        }
        let tokens = encode("{input}{output}", Example::Text("we are".into())).unwrap();
        assert_eq!((text(&tokens.ids), tokens.learnt_from), ("<s>▁we▁are</s>".into(), 0));
    }

    #[test]
    fn templates_have_both_fields_in_order() {
        for text in ["", "{input}", "{output}", "{output}{input}", "{input}{input}{output}"] {
            let problem = Template::parse(text).unwrap_err();
            assert!(problem.contains("once each"), "{text}: {problem}");
        }
    }
}

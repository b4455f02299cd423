//! Examples as tokens, each with whether it is to be learnt.

use super::lines::Example;
use super::texts::Part;
use crate::Result;
use crate::base::parallel;
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

/// An example as tokens, or a part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub ids: Vec<u32>,
    /// The first token that is learnt; [`NOTHING`] if none is.
    pub learnt_from: usize,
    /// Whether the example may be cut anywhere: a text may, an answer not.
    pub is_text: bool,
    /// Whether it is a part that goes on where the one before it ended.
    pub goes_on: bool,
}

/// Where the learnt tokens begin if there are none.
pub(super) const NOTHING: usize = usize::MAX;

/// Turns examples into tokens.
pub(super) struct Encoder<'a> {
    pub tokenizer: &'a Tokenizer,
    pub template: Template,
    /// Ends each example, so that a model learns to stop.
    pub end: Option<u32>,
}

impl Encoder<'_> {
    /// The tokens of each example, on all cores.
    ///
    /// A prompt and its answer are tokenised as one text, so that their tokens are those that the
    /// model meets when it is asked; a token over the border belongs to the answer.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) if the tokenizer cannot.
    pub fn encode(&self, examples: &[(usize, Example)]) -> Result<Vec<Tokens>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let all = parallel::map(cores, examples.len(), |number| match &examples[number].1 {
            Example::Answer { input, output } => self.answer(input, output),
            Example::Text(part) => self.text(part),
        });
        all.into_iter().collect()
    }

    fn answer(&self, input: &str, output: &str) -> Result<Tokens> {
        let (text, start) = self.template.fill(input, output);
        let encoding = self.tokenizer.encoding(&text, true)?;
        // Special tokens that a tokenizer adds are at the start of a text, and have no offsets.
        let special = encoding.get_special_tokens_mask();
        let is_of_answer = |&at: &usize| special[at] == 0 && encoding.get_offsets()[at].1 > start;
        let mut ids = encoding.get_ids().to_vec();
        let learnt_from = (0..ids.len()).find(is_of_answer).unwrap_or(NOTHING);
        self.end(&mut ids);
        Ok(Tokens { ids, learnt_from, is_text: false, goes_on: false })
    }

    /// The tokens that begin in a part. Those of the tokenizer's own are around the whole text.
    fn text(&self, part: &Part) -> Result<Tokens> {
        let &Part { ref text, from, to, first, last } = part;
        let encoding = self.tokenizer.encoding(text, true)?;
        let special = encoding.get_special_tokens_mask();
        let behind = special.iter().rposition(|&special| special == 0).unwrap_or(0);
        let is_of_part = |&at: &usize| match (special[at], encoding.get_offsets()[at].0) {
            (0, start) => (from..to).contains(&start) || last && start == to,
            _ if at < behind => first,
            _ => last,
        };
        let ids = encoding.get_ids();
        let mut ids: Vec<u32> = (0..ids.len()).filter(is_of_part).map(|at| ids[at]).collect();
        if last {
            self.end(&mut ids);
        }
        Ok(Tokens { ids, learnt_from: 0, is_text: true, goes_on: !first })
    }

    fn end(&self, ids: &mut Vec<u32>) {
        ids.extend(self.end.filter(|end| ids.last() != Some(end)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::{Problems, Reader};
    use super::*;

    fn tokenizer() -> Tokenizer {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf/tokenizer.json");
        Tokenizer::open(path).unwrap()
    }

    fn encode(template: &str, example: Example) -> Result<Tokens> {
        let tokenizer = tokenizer();
        let template = Template::parse(template).unwrap();
        let encoder = Encoder { tokenizer: &tokenizer, template, end: Some(2) };
        Ok(encoder.encode(&[(5, example)])?.remove(0))
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
        let tokens = encode("{input}{output}", Example::text("we are".into())).unwrap();
        assert_eq!((text(&tokens.ids), tokens.learnt_from), ("<s>▁we▁are</s>".into(), 0));
    }

    #[test]
    fn the_tokens_of_the_parts_are_those_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.txt");
        let words = ["the sand ", "we ride\n", "é", "  is on", "\n\n", "ab", "sea. "];
        let mut random = 7u64;
        let text: String = (0..60_000)
            .map(|_| {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
                words[(random >> 33) as usize % words.len()]
            })
            .collect();
        std::fs::write(&path, &text).unwrap();
        let tokenizer = tokenizer();
        let template = Template::parse("{input}{output}").unwrap();
        let encoder = Encoder { tokenizer: &tokenizer, template, end: Some(2) };
        let mut reader = Reader::open(&path).unwrap();
        let (mut ids, mut parts) = (Vec::new(), 0);
        loop {
            let some = reader.next(&mut Problems::of(&path)).unwrap();
            if some.is_empty() {
                break;
            }
            parts += some.len();
            encoder.encode(&some).unwrap().into_iter().for_each(|tokens| ids.extend(tokens.ids));
        }
        let mut whole = tokenizer.encode(&text, true).unwrap();
        whole.push(2);
        assert!(parts > 2, "{parts}");
        assert!(ids == whole, "{} tokens, {} of the whole", ids.len(), whole.len());
    }

    #[test]
    fn templates_have_both_fields_in_order() {
        for text in ["", "{input}", "{output}", "{output}{input}", "{input}{input}{output}"] {
            let problem = Template::parse(text).unwrap_err();
            assert!(problem.contains("once each"), "{text}: {problem}");
        }
    }
}

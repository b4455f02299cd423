//! How much longer a tokenizer may make what it is given: a chain of replacements can make gigabytes of
//! a word, and memory that is not there ends the process, which nothing can catch.

use serde::Deserialize;
use serde_json::Value;

/// How many bytes a text may come to on its way through a tokenizer. The crate holds some 20 bytes of
/// memory for each.
const MOST_BYTES: u64 = 64 << 20;
/// Tokenizers of models make a text three times as long, or where each space, ligature or byte becomes
/// several, a hundred times.
const MOST_TIMES: u64 = 4096;
/// The most tokens that are put around a text. Those of models put one or two.
const MOST_AROUND: usize = 4096;

/// The parts of a `tokenizer.json` that change texts. The rest is skipped without being kept.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
}

/// How many times as long a text may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    encoded: u64,
    decoded: u64,
}

impl Growth {
    /// Looks at a `tokenizer.json`.
    ///
    /// # Errors
    /// Why no text can be given to it.
    pub fn of(json: &[u8]) -> Result<Self, String> {
        let parts: Parts = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let text = times(&parts.normalizer)?.saturating_mul(times(&parts.pre_tokenizer)?);
        let encoded = text.saturating_mul(repeats(&parts.post_processor)?);
        let growth = Growth { encoded, decoded: times(&parts.decoder)? };
        for (times, what) in [(growth.encoded, "a text"), (growth.decoded, "a token")] {
            if times > MOST_TIMES {
                return Err(format!(
                    "it may make {what} {times} times as long; at most {MOST_TIMES} times is taken"
                ));
            }
        }
        Ok(growth)
    }

    /// Refuses a text of so many bytes, if it would become too long.
    pub fn admit(self, bytes: usize) -> Result<(), String> {
        admit(bytes, self.encoded, "this text")
    }

    /// The same for tokens whose texts have so many bytes together.
    pub fn admit_tokens(self, bytes: usize) -> Result<(), String> {
        admit(bytes, self.decoded, "these tokens")
    }
}

fn admit(bytes: usize, times: u64, what: &str) -> Result<(), String> {
    let most = (bytes as u64).saturating_mul(times);
    if most <= MOST_BYTES {
        return Ok(());
    }
    Err(format!(
        "it may make {most} bytes of {what}, {bytes} bytes; at most {MOST_BYTES} are taken: give it \
         in parts"
    ))
}

/// How many times as long a part that changes texts may make one. The crate knows parts by their
/// fields, whatever they are called.
fn times(part: &Value) -> Result<u64, String> {
    for parts in ["normalizers", "pretokenizers", "decoders"] {
        if let Some(parts) = part.get(parts).and_then(Value::as_array) {
            return parts.iter().try_fold(1u64, |all, part| Ok(all.saturating_mul(times(part)?)));
        }
    }
    let len = |field: &str| part.get(field).and_then(Value::as_str).map(|text| text.len() as u64);
    if let Some(map) = part.get("precompiled_charsmap").and_then(Value::as_str) {
        return longest_replacement(map).ok_or_else(|| "its charsmap is malformed".into());
    }
    if let (Some(pattern), Some(content)) = (part.get("pattern"), len("content")) {
        // A regular expression may match between any two characters.
        let matched = pattern.get("String").and_then(Value::as_str).map_or(0, str::len) as u64;
        return Ok(content
            .checked_div(matched)
            .map_or(content + 1, |_| content.div_ceil(matched))
            .max(1));
    }
    if let Some(prepended) = len("prepend") {
        return Ok(prepended + 1);
    }
    let is_bytes = part.get("type").and_then(Value::as_str) == Some("ByteLevel")
        || part.get("add_prefix_space").is_some();
    // A byte becomes a character of up to two; a space one of up to four.
    Ok(if is_bytes { 2 } else { len("replacement").unwrap_or(1).max(1) })
}

/// How often the tokens of a text come in what a post-processor makes of them.
fn repeats(part: &Value) -> Result<u64, String> {
    if let Some(parts) = part.get("processors").and_then(Value::as_array) {
        return parts.iter().try_fold(1u64, |all, part| Ok(all.saturating_mul(repeats(part)?)));
    }
    let Some(template) = part.get("single").and_then(Value::as_array) else { return Ok(1) };
    let is_text = |piece: &&Value| piece.get("Sequence").is_some();
    let special = |piece: &Value| {
        let id = piece.get("SpecialToken")?.get("id")?.as_str()?;
        part.get("special_tokens")?.get(id)?.get("ids")?.as_array().map(Vec::len)
    };
    let around = template.iter().filter_map(special).fold(0, usize::saturating_add);
    if around > MOST_AROUND {
        return Err(format!(
            "it puts {around} tokens around each text; at most {MOST_AROUND} are taken"
        ));
    }
    Ok((template.iter().filter(is_text).count() as u64).max(1))
}

/// The length of the longest text that a character becomes by a charsmap of SentencePiece: in base64
/// the length of an index, the index, and texts with a zero behind each.
fn longest_replacement(map: &str) -> Option<u64> {
    let bytes = from_base64(map)?;
    let (len, rest) = bytes.split_first_chunk()?;
    // The crate takes memory for what it says, whatever follows.
    let texts = rest.get(u32::from_le_bytes(*len) as usize..)?;
    texts.split(|&byte| byte == 0).map(|text| text.len() as u64).max().map(|most| most.max(1))
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: &str, part: &str) -> Result<u64, String> {
        let json = format!(r#"{{"{field}":{part},"model":{{"vocab":{{"a":0}}}}}}"#);
        Growth::of(json.as_bytes()).map(|growth| growth.encoded.max(growth.decoded))
    }

    fn sequence(field: &str, part: &str, count: usize) -> String {
        format!(r#"{{"type":"Sequence","{field}":[{}]}}"#, vec![part; count].join(","))
    }

    #[test]
    fn what_tokenizers_of_models_have_is_taken() {
        let space = r#"{"type":"Replace","pattern":{"String":" "},"content":"▁"}"#;
        let spaces = r#"{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"▁"}"#;
        let word = r#"{"type":"Replace","pattern":{"String":"▁"},"content":" "}"#;
        let prepend = r#"{"type":"Prepend","prepend":"▁"}"#;
        let llama = format!(r#"{{"type":"Sequence","normalizers":[{prepend},{space}]}}"#);
        let split = r#"{"type":"Split","pattern":{"Regex":"x"},"behavior":"Isolated"}"#;
        let bytes = r#"{"type":"ByteLevel","add_prefix_space":false}"#;
        let gpt = format!(r#"{{"type":"Sequence","pretokenizers":[{split},{bytes}]}}"#);
        // Three bytes of index, "fi", "a".
        let charsmap = r#"{"type":"Precompiled","precompiled_charsmap":"AwAAAAAAAGZpAGE="}"#;
        let single = r#"{"single":[{"SpecialToken":{"id":"s"}},{"Sequence":{"id":"A"}}],
                         "special_tokens":{"s":{"ids":[1]}}}"#;
        for (field, part, want) in [
            ("normalizer", "null", 1),
            ("normalizer", space, 3),
            ("normalizer", spaces, 4),
            ("decoder", word, 1),
            ("normalizer", &llama, 12),
            ("pre_tokenizer", &gpt, 2),
            ("normalizer", charsmap, 2),
            ("post_processor", single, 1),
        ] {
            assert_eq!(of(field, part), Ok(want), "{part}");
        }
    }

    #[test]
    fn chains_that_multiply_are_refused() {
        let double = r#"{"pattern":{"String":"a"},"content":"aa"}"#;
        let empty = r#"{"pattern":{"String":""},"content":"aaaaaaaa"}"#;
        let sequence_a = r#"{"Sequence":{"id":"A"}}"#;
        let repeated = format!(r#"{{"single":[{}]}}"#, vec![sequence_a; 5000].join(","));
        let special = r#"{"SpecialToken":{"id":"s"}}"#;
        let around = format!(
            r#"{{"single":[{}],"special_tokens":{{"s":{{"ids":{:?}}}}}}}"#,
            vec![special; 100].join(","),
            [7; 100],
        );
        for (field, part, want) in [
            ("normalizer", sequence("normalizers", double, 40), "1099511627776 times as long"),
            ("decoder", sequence("decoders", double, 13), "a token 8192 times"),
            ("normalizer", sequence("normalizers", empty, 4), "6561 times"),
            ("normalizer", sequence("normalizers", r#"{"type":"ByteLevel"}"#, 64), "times"),
            ("pre_tokenizer", sequence("pretokenizers", r#"{"type":"ByteLevel"}"#, 20), "times"),
            ("post_processor", repeated, "5000 times"),
            ("post_processor", around, "10000 tokens around"),
            // It says that its index has 4 GB.
            ("normalizer", r#"{"precompiled_charsmap":"/////wAAAA=="}"#.into(), "malformed"),
        ] {
            let problem = of(field, &part).unwrap_err();
            assert!(problem.contains(want), "{problem}");
        }
    }

    #[test]
    fn a_text_may_grow_to_so_many_bytes() {
        let growth = Growth { encoded: 4, decoded: 1 };
        assert_eq!(growth.admit(16 << 20), Ok(()));
        let problem = growth.admit((16 << 20) + 1).unwrap_err();
        assert!(problem.contains("67108868 bytes of this text"), "{problem}");
        assert_eq!(growth.admit_tokens(64 << 20), Ok(()));
    }
}

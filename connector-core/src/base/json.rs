//! JSON as it is written into files, and configs as they are read: of JSON or YAML.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// `value` on lines, indented by two spaces, the last one ended: as Hugging Face writes its configs.
///
/// # Errors
/// If it is nothing that JSON can say.
pub(crate) fn pretty(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The most values in a config. Those of models have some hundred, where they list layers some ten
/// thousand. Each takes up to a hundred bytes of memory, and two of the file, or by an alias of YAML
/// none.
const MOST_VALUES: usize = 1 << 18;
const MOST_OF_YAML: usize = 1 << 17;

/// Reads a config from a stranger.
///
/// # Errors
/// What is wrong with it, without its name.
pub(crate) fn config<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    // No value is without one of these before it. Texts may have some too.
    let marks = text.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    if marks > MOST_VALUES {
        return Err(format!("has more than {MOST_VALUES} values, which no config has"));
    }
    serde_json::from_slice(text).map_err(|error| match error.classify() {
        Category::Data => error.to_string(),
        _ => format!("is not JSON: {error}"),
    })
}

/// The same of YAML.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn yaml<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8")?;
    let budget = serde_saphyr::budget! { max_nodes: MOST_OF_YAML };
    let options = serde_saphyr::options! { budget: budget };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.to_string();
        error.lines().next().unwrap_or_default().to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_config_of_too_many_values_is_refused() {
        assert_eq!(config::<Value>(br#"{"a": [1]}"#).unwrap()["a"][0], 1);
        let many = format!("[{}0]", "[],".repeat(MOST_VALUES / 2));
        assert!(config::<Value>(many.as_bytes()).unwrap_err().contains("more than 262144 values"));
        // Ten times as many with each line, of which no byte is long.
        let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
        for n in 1..9 {
            let all = vec![format!("*a{}", n - 1); 10].join(",");
            laughs += &format!("a{n}: &a{n} [{all}]\n");
        }
        assert!(yaml::<Value>(laughs.as_bytes()).unwrap_err().contains("Nodes"));
        let deep = ["[", "]"].map(|bracket| bracket.repeat(100_000)).concat();
        assert!(yaml::<Value>(deep.as_bytes()).is_err());
        assert!(config::<Value>(deep.as_bytes()).is_err());
    }
}

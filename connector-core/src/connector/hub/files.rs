//! Which files of a model on the hub an import reads.

use crate::checkpoint::holds_weights;
use crate::checkpoint::safetensors::{INDEX, weight_files};

/// Endings of what people look at, which no program reads.
const PICTURES: [&str; 8] = [".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".mp4", ".pdf"];
/// Endings of other forms of the weights, and of what was packed.
const OTHERS: [&str; 8] =
    [".onnx_data", ".nemo", ".zip", ".tar", ".gz", ".npz", ".tflite", ".mlmodel"];
/// The folder of chat templates.
const TEMPLATES: &str = "additional_chat_templates/";

/// The files to download.
#[derive(Debug, PartialEq)]
pub(super) struct Needed {
    /// Configs, tokenizer files, the index: small, and first.
    pub beside: Vec<String>,
    /// Files of tensors. If there is an index, only it tells which.
    pub weights: Vec<String>,
}

/// Chooses among the files that the hub lists. Names that lead out of a directory are an error.
pub(super) fn needed(listed: &[String]) -> Result<Needed, String> {
    if let Some(name) = listed.iter().find(|name| !is_inside(name)) {
        return Err(format!("the file name {name:?}"));
    }
    let beside = |name: &&String| {
        let plain = name.strip_prefix(TEMPLATES).unwrap_or(name);
        let any = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
        !plain.contains('/')
            && !plain.starts_with('.')
            && (*plain == *INDEX || !holds_weights(plain))
            && !any(&PICTURES)
            && !any(&OTHERS)
    };
    let weights = listed.iter().filter(|name| !name.contains('/') && !name.starts_with('.'));
    let weights = weights.filter(|name| name.ends_with(".safetensors")).map(Into::into).collect();
    let weights =
        weight_files(weights).into_iter().filter_map(|path| path.to_str().map(Into::into));
    Ok(Needed {
        beside: listed.iter().filter(beside).cloned().collect(),
        weights: weights.collect(),
    })
}

/// Whether there are weights that Python's pickle wrote.
pub(super) fn has_pickle(listed: &[String]) -> bool {
    listed.iter().any(|name| name.ends_with(".bin") || name.ends_with(".pth"))
}

/// Whether a name stays inside the directory that it is joined to, on any system.
fn is_inside(name: &str) -> bool {
    !name.contains(['\\', ':'])
        && !name.contains(char::is_control)
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn only_what_an_import_reads() {
        let listed = names(&[
            ".gitattributes",
            "LICENSE",
            "README.md",
            "additional_chat_templates/tools.jinja",
            "config.json",
            "consolidated.safetensors",
            "figure.png",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "onnx/config.json",
            "original/params.json",
            "pytorch_model-00001-of-00001.bin",
            "pytorch_model.bin.index.json",
            "tokenizer.model",
        ]);
        let needed = needed(&listed).unwrap();
        let beside = [
            "LICENSE",
            "README.md",
            "additional_chat_templates/tools.jinja",
            "config.json",
            "model.safetensors.index.json",
            "tokenizer.model",
        ];
        assert_eq!(needed.beside, beside);
        let weights = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        assert_eq!(needed.weights, weights);
        assert!(has_pickle(&listed));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "a/../b", "/etc/x", "a//b", "a\\b", "c:x", ".", "", "a\n"] {
            assert!(
                needed(&names(&["config.json", name])).unwrap_err().contains("file name"),
                "{name:?}"
            );
        }
    }
}

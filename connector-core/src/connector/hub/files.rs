//! Which files of a model on the hub an import reads.

use crate::checkpoint::{Form, holds_weights, safetensors, torch_save};
use std::path::PathBuf;

/// Endings of what people look at, which no program reads.
const PICTURES: [&str; 8] = [".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".mp4", ".pdf"];
/// Endings of other forms of the weights, and of what was packed.
const OTHERS: [&str; 8] =
    [".onnx_data", ".nemo", ".zip", ".tar", ".gz", ".npz", ".tflite", ".mlmodel"];
/// The folder of chat templates.
const TEMPLATES: &str = "additional_chat_templates/";

/// The files to download.
#[derive(Debug)]
pub(super) struct Needed {
    /// Configs, tokenizer files, the index: small, and first.
    pub beside: Vec<String>,
    /// Files of tensors. If there is an index, only it tells which.
    pub weights: Vec<String>,
    /// The form that these have.
    pub form: &'static Form,
}

/// Chooses among the files that the hub lists: weights in safetensors, or where there are none those
/// that torch saved. Names that lead out of a directory are an error.
pub(super) fn needed(listed: &[String]) -> Result<Needed, String> {
    if let Some(name) = listed.iter().find(|name| !is_inside(name)) {
        return Err(format!("the file name {name:?}"));
    }
    let here = listed.iter().filter(|name| !name.contains('/') && !name.starts_with('.'));
    let weights = |form: &Form| -> Vec<String> {
        let named = here.clone().filter(|name| name.ends_with(&format!(".{}", form.extensions[0])));
        let paths = form.weight_files(named.map(PathBuf::from).collect());
        paths.into_iter().filter_map(|path| path.to_str().map(Into::into)).collect()
    };
    let of = |form| (form, weights(form));
    let (form, weights) = match of(&safetensors::FORM) {
        (_, none) if none.is_empty() => of(&torch_save::FORM),
        found => found,
    };
    let beside = |name: &&String| {
        let plain = name.strip_prefix(TEMPLATES).unwrap_or(name);
        let any = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
        !plain.contains('/')
            && !plain.starts_with('.')
            && (*plain == *form.index || !holds_weights(plain))
            && !any(&PICTURES)
            && !any(&OTHERS)
    };
    Ok(Needed { beside: listed.iter().filter(beside).cloned().collect(), weights, form })
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
    }

    #[test]
    fn without_safetensors_what_torch_saved() {
        let listed = names(&[
            "config.json",
            "optimizer.bin",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
        ]);
        let needed = needed(&listed).unwrap();
        assert_eq!(needed.beside, ["config.json", "pytorch_model.bin.index.json"]);
        assert_eq!(needed.weights, listed[2..4]);
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

use crate::checkpoint::safetensors::shown;
use std::ffi::OsStr;
use std::path::Path;
use std::{fmt, fs, io};

/// What is in a place where no checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// An empty directory.
    Nothing,
    /// A PyTorch pickle that is no model, `training_args.bin`.
    Pickle {
        /// Its name.
        file: String,
    },
    /// Safetensors, where only what torch saved was looked for.
    Safetensors {
        /// Its name.
        file: String,
    },
    /// A GGUF file.
    Gguf {
        /// Its name.
        file: String,
    },
    /// A packed NeMo checkpoint, `model.nemo`.
    NemoArchive {
        /// Its name.
        file: String,
    },
    /// A PyTorch distributed checkpoint: `.metadata` and `*.distcp`.
    TorchDist,
    /// A NeMo 2 checkpoint: `weights` and `context`.
    Nemo,
    /// A directory of Megatron-LM: `latest_checkpointed_iteration.txt`.
    MegatronLm,
    /// A directory of Hugging Face without its weights: `config.json`.
    ConfigOnly,
    /// Anything else.
    Other {
        /// Some of the names, sorted.
        names: Vec<String>,
    },
}

impl Found {
    /// How many names to give where none says more than the others.
    const NAMES: usize = 5;

    pub(super) fn in_dir(dir: &Path) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(Found::among(names))
    }

    pub(super) fn file(path: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Found::among(vec![name.into_owned()])
    }

    fn among(mut names: Vec<String>) -> Self {
        let has = |name: &str| names.iter().any(|found| found == name);
        let ending = |endings: &[&str]| {
            let ends = |name: &&String| {
                let extension = Path::new(name).extension().and_then(OsStr::to_str);
                extension.is_some_and(|extension| endings.contains(&extension))
            };
            names.iter().find(ends).cloned()
        };
        if has("weights") && has("context") {
            Found::Nemo
        } else if has(".metadata") || ending(&["distcp"]).is_some() {
            Found::TorchDist
        } else if has("latest_checkpointed_iteration.txt") {
            Found::MegatronLm
        } else if let Some(file) = ending(&["nemo"]) {
            Found::NemoArchive { file }
        } else if let Some(file) = ending(&["safetensors"]) {
            Found::Safetensors { file }
        } else if let Some(file) = ending(&["bin", "pt", "pth", "ckpt"]) {
            Found::Pickle { file }
        } else if let Some(file) = ending(&["gguf"]) {
            Found::Gguf { file }
        } else if has("config.json") {
            Found::ConfigOnly
        } else if names.is_empty() {
            Found::Nothing
        } else {
            names.truncate(Self::NAMES);
            Found::Other { names }
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Nothing => f.write_str("the directory is empty"),
            Found::Pickle { file } => write!(f, "found a PyTorch pickle, `{}`", shown(file)),
            Found::Safetensors { file } => write!(f, "found safetensors, `{}`", shown(file)),
            Found::Gguf { file } => write!(f, "found a GGUF file, `{}`", shown(file)),
            Found::NemoArchive { file } => {
                write!(f, "found a packed NeMo checkpoint, `{}`", shown(file))
            }
            Found::TorchDist => f.write_str("found a PyTorch distributed checkpoint"),
            Found::Nemo => f.write_str("found a NeMo 2 checkpoint (`weights` and `context`)"),
            Found::MegatronLm => f.write_str(
                "found a Megatron-LM directory; give the directory of one iteration in it",
            ),
            Found::ConfigOnly => f.write_str("found `config.json`, but no weights beside it"),
            Found::Other { names } => {
                f.write_str("found ")?;
                for (i, name) in names.iter().enumerate() {
                    write!(f, "{}`{}`", if i == 0 { "" } else { ", " }, shown(name))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_is_told() {
        let cases: [(&[&str], &str); 10] = [
            (&[], "the directory is empty"),
            (&["config.json", "pytorch_model.bin"], "a PyTorch pickle, `pytorch_model.bin`"),
            (&["config.json", "model.safetensors"], "found safetensors, `model.safetensors`"),
            (&["model-q4.gguf"], "a GGUF file, `model-q4.gguf`"),
            (&["llama.nemo"], "packed NeMo checkpoint, `llama.nemo`"),
            (&[".metadata", "__0_0.distcp"], "distributed checkpoint"),
            (&["context", "weights"], "NeMo 2"),
            (&["iter_0000010", "latest_checkpointed_iteration.txt"], "Megatron-LM"),
            (&["config.json"], "`config.json`, but no weights"),
            (&["a", "b\n"], "found `a`, `b\\n`"),
        ];
        for (names, message) in cases {
            let found = Found::among(names.iter().map(|&name| name.into()).collect()).to_string();
            assert!(found.contains(message), "{found}");
        }
    }
}

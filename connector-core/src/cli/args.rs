use super::exit::EXIT_CODES;
use super::failure::Failure;
use super::size::Size;
use crate::checkpoint::torch_dist::LayerLayout;
use crate::connector::{Experts, VerifyOptions};
use crate::engine::EngineOptions;
use crate::key::Pattern;
use crate::plan::PlanOptions;
use crate::store::Dtype;
use crate::{DeviceChoice, ExportOptions, ImportOptions};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint, value_parser};
use std::path::PathBuf;

/// Moves large language models between Hugging Face and Megatron/NeMo checkpoints, proven and streamed.
#[derive(Debug, Parser)]
#[command(name = "connector", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub show: Show,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct Show {
    /// Print one JSON document instead of text, also for errors
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell what is done meanwhile; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Convert a Hugging Face checkpoint to Megatron's names and layout
    #[command(after_help = EXIT_CODES)]
    Import(Import),
    /// Convert a checkpoint that `import` wrote, and training went on with, back to Hugging Face
    #[command(after_help = EXIT_CODES)]
    Export(Export),
    /// Show what an import would do, and check it; reads headers only and writes nothing
    ///
    /// For a directory that `import` wrote: what an export would do.
    #[command(after_help = EXIT_CODES)]
    Plan {
        #[command(flatten)]
        selection: Selection,
    },
    /// Follow one tensor: where it lies, which rule takes it, where it goes
    #[command(after_help = EXIT_CODES)]
    Explain {
        #[command(flatten)]
        selection: Selection,
        /// A key of either side; of a group (`layers.{0..31}.…`, `layers.*.…`) the first one
        key: String,
    },
    /// State whether a checkpoint holds the numbers of its source, tensor by tensor, bit for bit
    ///
    /// Either may be a Hugging Face directory or one that `import` wrote. Between the two kinds the
    /// importer's mapping is followed; within one kind tensors are compared by name.
    #[command(after_help = EXIT_CODES)]
    Verify(Verify),
    /// Compare two checkpoints, or files of tensors, as they are, by the names of their tensors
    #[command(after_help = EXIT_CODES)]
    Diff(Diff),
    /// List the tensors of a safetensors file or checkpoint directory, safetensors or torch_dist
    #[command(after_help = EXIT_CODES)]
    Inspect {
        /// A `.safetensors` file, a Hugging Face directory, an output of `import`, or a directory of
        /// NeMo, Megatron-LM or Megatron-Bridge
        #[arg(value_hint = ValueHint::AnyPath)]
        path: PathBuf,
        /// Every tensor by itself, with its place
        #[arg(long)]
        all: bool,
    },
    /// Draft a schema and an importer, in Rust, from a checkpoint's keys and shapes
    #[command(after_help = EXIT_CODES)]
    Scaffold {
        /// The directory of the Hugging Face checkpoint, or hf://ORG/NAME[@REVISION]
        #[arg(value_hint = ValueHint::DirPath)]
        source: PathBuf,
        /// A model in this program that it is like; its importer's rules are taken over
        #[arg(long, value_name = "MODEL")]
        like: Option<String>,
        /// A new file for the draft, instead of standard output
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// The checkpoints that `import` without --output keeps: list, find, check, remove them
    #[command(after_help = EXIT_CODES)]
    Cache {
        #[command(subcommand)]
        action: CacheAction,
    },
    /// List the importers and exporters in this program
    List,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual, as roff: `connector man | man -l -`
    Man,
}

impl Command {
    /// The paths that may be addresses on the hub.
    pub fn sources(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Command::Import(Import { selection, .. })
            | Command::Plan { selection }
            | Command::Explain { selection, .. } => vec![&mut selection.source],
            Command::Cache { action: CacheAction::Path { selection, .. } } => {
                vec![&mut selection.source]
            }
            Command::Export(export) => vec![&mut export.checkpoint],
            Command::Verify(verify) => vec![&mut verify.source, &mut verify.checkpoint],
            Command::Diff(diff) => vec![&mut diff.one, &mut diff.other],
            Command::Inspect { path, .. } => vec![path],
            Command::Scaffold { source, .. } => vec![source],
            Command::Cache { .. } | Command::List | Command::Completions { .. } | Command::Man => {
                Vec::new()
            }
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    pub selection: Selection,
    /// The new directory [default: in the cache, see `connector cache`]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
    /// How the tensors lie on disk: torch_dist is what NeMo loads
    #[arg(long, value_enum, value_name = "NAME", default_value_t = ContainerName::Safetensors, help_heading = "How")]
    pub container: ContainerName,
    /// How torch_dist stores layers: per-layer is for models whose layers differ
    #[arg(long, value_enum, value_name = "LAYERS", default_value_t = Layers::Stacked, help_heading = "How")]
    pub layout: Layers,
    #[command(flatten)]
    pub publish: Publish,
}

/// What is done with the cache.
#[derive(Debug, Subcommand)]
pub(super) enum CacheAction {
    /// List what is in the cache
    #[command(visible_alias = "list")]
    Ls,
    /// Print where the import of a source is, or would be
    Path {
        #[command(flatten)]
        selection: Box<Selection>,
        /// As for `import`, of which it is a part
        #[arg(long)]
        hash: bool,
    },
    /// Hold what is in the cache against its records: lengths, headers, hashes where there are any
    Verify {
        /// Of which models, `org/name`, or directories [default: all]
        names: Vec<String>,
    },
    /// Remove models
    Rm {
        /// Which models, `org/name`, or directories
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove what killed runs left and what is damaged
    Gc {
        /// Also what was made more than so many days ago
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u32>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

impl Import {
    /// How layers are stored in torch_dist, if that is asked for.
    pub fn torch_dist(&self) -> Option<LayerLayout> {
        (self.container == ContainerName::TorchDist).then_some(match self.layout {
            Layers::Stacked => LayerLayout::Stacked,
            Layers::PerLayer => LayerLayout::PerLayer,
        })
    }
}

/// How tensors lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ContainerName {
    Safetensors,
    #[value(name = "torch_dist")]
    TorchDist,
}

/// How layers are stored in torch_dist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Layers {
    Stacked,
    PerLayer,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The directory of the checkpoint: an output of `import`, or one of NeMo, Megatron-LM or
    /// Megatron-Bridge in torch_dist
    #[arg(value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    /// The model, if its context/model.yaml names a type that is not known
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub model: Option<String>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "hf", help_heading = "What")]
    pub to: String,
    #[command(flatten)]
    pub what: What,
    /// Take the config, the tokenizer and all other files from this Hugging Face directory, for a
    /// checkpoint without a context/model.yaml that says what model it is
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "What")]
    pub hf_config: Option<PathBuf>,
    /// Write the rows that pad the vocabulary too, and count them in config.json's vocab_size
    #[arg(long, help_heading = "What")]
    pub keep_vocab_padding: bool,
    #[command(flatten)]
    pub how: How,
    /// The new directory
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    #[command(flatten)]
    pub publish: Publish,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// What was converted
    #[arg(value_hint = ValueHint::DirPath)]
    pub source: PathBuf,
    /// What it was converted to
    #[arg(value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    /// The model, if config.json does not name an architecture that is known
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub model: Option<String>,
    /// The format of the side that is no output of `import`
    #[arg(long, value_name = "FORMAT", default_value = "hf", help_heading = "What")]
    pub format: String,
    /// Tensors of either side that need no counterpart; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub ignore: Vec<String>,
    #[command(flatten)]
    pub resources: Resources,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// A directory or a `.safetensors` file
    #[arg(value_hint = ValueHint::AnyPath)]
    pub one: PathBuf,
    /// The one to compare with
    #[arg(value_hint = ValueHint::AnyPath)]
    pub other: PathBuf,
    /// Tensors of either side to leave out; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub ignore: Vec<String>,
    #[command(flatten)]
    pub resources: Resources,
}

/// How the result is written.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// Replace the output if connector wrote it
    #[arg(long)]
    pub overwrite: bool,
    /// Record a blake3 hash of each tensor in conversion.json
    #[arg(long)]
    pub hash: bool,
    /// Plan and check everything, write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A checkpoint and how it is converted.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// The directory of the Hugging Face checkpoint, or hf://ORG/NAME[@REVISION]
    #[arg(value_hint = ValueHint::DirPath)]
    pub source: PathBuf,
    /// The model, if its config.json does not name an architecture that is known
    #[arg(long, value_name = "NAME", help_heading = "What")]
    pub model: Option<String>,
    /// The format of the source
    #[arg(long, value_name = "FORMAT", default_value = "hf", help_heading = "What")]
    pub from: String,
    #[command(flatten)]
    pub what: What,
    /// Add rows of zeros until the vocabulary is a multiple of N
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), help_heading = "What")]
    pub pad_vocab_to_multiple_of: Option<u32>,
    /// How a mixture's experts are named: `local_experts.3.linear_fc1.weight`, as NeMo does by
    /// default, or `linear_fc1.weight3`, as Megatron-core's grouped GEMM does
    #[arg(long, value_enum, value_name = "NAMES", help_heading = "What")]
    pub experts: Option<ExpertNames>,
    #[command(flatten)]
    pub how: How,
}

/// Which tensors are converted.
#[derive(Debug, Args)]
pub(super) struct What {
    /// Cast floating-point tensors; auto keeps each one's own type
    #[arg(long, value_enum, default_value_t = Cast::Auto, help_heading = "What")]
    pub dtype: Cast,
    /// Leave out source tensors, `model.layers.*.rotary.inv_freq`; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub ignore: Vec<String>,
    /// Write only tensors that match, `decoder.layers.0.**`; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "What")]
    pub only: Vec<String>,
}

/// How it is done.
#[derive(Debug, Args)]
pub(super) struct How {
    /// The largest file of tensors
    #[arg(long, value_name = "SIZE", default_value = "5GB", help_heading = "How")]
    pub max_shard_size: Size,
    #[command(flatten)]
    pub resources: Resources,
}

/// What it may take.
#[derive(Debug, Args)]
pub(super) struct Resources {
    /// The most memory for buffers and the tensors of one step
    #[arg(long, value_name = "SIZE", default_value = "2GiB", help_heading = "How")]
    pub max_memory: Size,
    /// Threads that move bytes [default: the cores, at most 4]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024), help_heading = "How")]
    pub threads: Option<u16>,
    /// Where state transforms run: cpu, cuda, cuda:N, metal
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "How")]
    pub device: DeviceChoice,
}

/// A type to cast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Cast {
    Auto,
    Bf16,
    F16,
    F32,
}

/// How experts are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExpertNames {
    Local,
    Grouped,
}

impl Selection {
    /// The library's options for an import.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<ImportOptions, Failure> {
        self.how.resources.check_device()?;
        Ok(ImportOptions {
            format: self.from.clone(),
            model: self.model.clone(),
            plan: self.what.options(),
            engine: self.how.resources.engine(),
            max_shard_size: self.how.max_shard_size.bytes,
            pad_vocab_to_multiple_of: self.pad_vocab_to_multiple_of.map(|n| n as usize),
            experts: self.experts.map(|names| match names {
                ExpertNames::Local => Experts::Local,
                ExpertNames::Grouped => Experts::Grouped,
            }),
            device: self.how.resources.device,
            ..ImportOptions::default()
        })
    }

    /// The library's options for an export, of a source that an import wrote.
    ///
    /// # Errors
    /// If an option is for imports only, or the device cannot be opened.
    pub fn export_options(&self) -> Result<ExportOptions, Failure> {
        self.how.resources.check_device()?;
        for (given, option) in [
            (self.pad_vocab_to_multiple_of.is_some(), "--pad-vocab-to-multiple-of"),
            (self.experts.is_some(), "--experts"),
        ] {
            if given {
                let message = format!("{option}: {} is to be exported", self.source.display());
                return Err(Failure::usage(message).help("it belongs to `connector import`"));
            }
        }
        Ok(ExportOptions {
            format: self.from.clone(),
            model: self.model.clone(),
            plan: self.what.options(),
            engine: self.how.resources.engine(),
            max_shard_size: self.how.max_shard_size.bytes,
            device: self.how.resources.device,
            ..ExportOptions::default()
        })
    }
}

impl Export {
    /// The library's options.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<ExportOptions, Failure> {
        self.how.resources.check_device()?;
        Ok(ExportOptions {
            format: self.to.clone(),
            model: self.model.clone(),
            hf_config: self.hf_config.clone(),
            plan: self.what.options(),
            engine: self.how.resources.engine(),
            max_shard_size: self.how.max_shard_size.bytes,
            keep_vocab_padding: self.keep_vocab_padding,
            device: self.how.resources.device,
            ..ExportOptions::default()
        })
    }
}

impl Verify {
    /// The library's options.
    ///
    /// # Errors
    /// If the device cannot be opened.
    pub fn options(&self) -> Result<VerifyOptions, Failure> {
        self.resources.check_device()?;
        Ok(VerifyOptions {
            format: self.format.clone(),
            model: self.model.clone(),
            ignore: self.ignore.clone(),
            engine: self.resources.engine(),
            device: self.resources.device,
            ..VerifyOptions::default()
        })
    }
}

impl Diff {
    /// The library's options.
    pub fn options(&self) -> VerifyOptions {
        let (ignore, engine) = (self.ignore.clone(), self.resources.engine());
        VerifyOptions { ignore, engine, ..VerifyOptions::default() }
    }
}

impl What {
    /// The library's options.
    pub fn options(&self) -> PlanOptions {
        let dtype = match self.dtype {
            Cast::Auto => None,
            Cast::Bf16 => Some(Dtype::Bf16),
            Cast::F16 => Some(Dtype::F16),
            Cast::F32 => Some(Dtype::F32),
        };
        PlanOptions { dtype, ignore: self.ignore.clone(), only: self.only.clone() }
    }
}

impl Resources {
    fn engine(&self) -> EngineOptions {
        let default = EngineOptions::default();
        EngineOptions {
            threads: self.threads.map_or(default.threads, usize::from),
            max_memory: self.max_memory.bytes,
        }
    }

    #[cfg(feature = "candle")]
    fn check_device(&self) -> Result<(), Failure> {
        let failed = |error| Failure::usage(format!("--device {}: {error}", self.device));
        self.device.open().map(drop).map_err(failed)
    }

    #[cfg(not(feature = "candle"))]
    fn check_device(&self) -> Result<(), Failure> {
        if self.device == DeviceChoice::Cpu {
            return Ok(());
        }
        let message = format!("--device {}: this build has no devices but the cpu", self.device);
        Err(Failure::usage(message).help("build with the feature `cuda` or `metal`"))
    }
}

/// A key pattern of a user. Parsed here only to point at mistakes.
fn pattern(text: &str) -> Result<String, String> {
    match Pattern::parse(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!("{error}; write for example `model.layers.*.mlp.**`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn selection(line: &str) -> Result<Selection, clap::Error> {
        let words = ["connector", "plan", "."].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Plan { selection } => Ok(selection),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let (ours, theirs) = (selection("").unwrap().options().unwrap(), ImportOptions::default());
        assert_eq!(ours.max_shard_size, theirs.max_shard_size);
        assert_eq!(ours.engine.max_memory, theirs.engine.max_memory);
        assert_eq!(ours.engine.threads, theirs.engine.threads);
        assert_eq!(ours.format, theirs.format);
        assert_eq!(ours.device, theirs.device);
    }

    #[test]
    fn exports_have_the_defaults_of_the_library() {
        let words = ["connector", "export", "a", "-o", "b"];
        let Command::Export(export) = Cli::try_parse_from(words).unwrap().command else {
            panic!("an export")
        };
        let (ours, theirs) = (export.options().unwrap(), ExportOptions::default());
        assert_eq!(ours.max_shard_size, theirs.max_shard_size);
        assert_eq!((&ours.format, ours.keep_vocab_padding), (&theirs.format, false));
    }

    #[test]
    fn mistakes_are_refused_with_an_example() {
        for (line, want) in [
            ("--max-memory 0", "2GiB"),
            ("--max-memory lots", "2GiB"),
            ("--max-shard-size 5G", "2GiB"),
            ("--threads 0", "1..="),
            ("--dtype fp8", "bf16"),
            ("--device tpu", "cuda"),
            ("--ignore a..b", "model.layers"),
            ("--pad-vocab-to-multiple-of 0", "1.."),
            ("--experts fused", "grouped"),
            ("--quiet --verbose", "cannot be used"),
            ("--max-memry 1GB", "--max-memory"),
        ] {
            let error = selection(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(want), "{line}: {error}");
        }
    }

    #[test]
    fn options_are_handed_on() {
        let line = "--dtype bf16 --ignore a.* --ignore b --only c --threads 3 --max-memory 1MB";
        let options = selection(line).unwrap().options().unwrap();
        assert_eq!(options.plan.dtype, Some(Dtype::Bf16));
        assert_eq!(options.plan.ignore, ["a.*", "b"]);
        assert_eq!(options.plan.only, ["c"]);
        assert_eq!(
            selection("--experts grouped").unwrap().options().unwrap().experts,
            Some(Experts::Grouped)
        );
        assert_eq!((options.engine.threads, options.engine.max_memory), (3, 1_000_000));
    }
}

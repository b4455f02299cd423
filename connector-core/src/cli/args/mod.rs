//! The command line, as clap has it: the commands here, what each takes in a file of its own, what
//! several take in `conversion` and `resources`.

mod cache;
mod container;
mod conversion;
mod convert;
mod export;
#[cfg(feature = "train")]
mod finetune;
mod import;
#[cfg(feature = "candle")]
mod model;
mod resources;
mod trained;
mod verify;

pub(super) use cache::CacheAction;
pub(super) use conversion::{How, Publish, Selection};
pub(super) use convert::Convert;
pub(super) use export::Export;
#[cfg(feature = "train")]
pub(super) use finetune::{FineTune, Merge};
pub(super) use import::Import;
#[cfg(feature = "candle")]
pub(super) use model::{CompareLogits, Computed, Generate, Logits};
pub(super) use trained::{Iteration, Trained};
pub(super) use verify::{Diff, Verify};

use super::exit::EXIT_CODES;
use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use std::iter;
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
    /// Show how long each stage took
    #[arg(long, global = true)]
    pub timings: bool,
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
    /// Store a checkpoint of the model's side in another container, every tensor bit for bit
    ///
    /// From torch_dist as training wrote it, in whatever pieces, to safetensors or to torch_dist
    /// again; from what `import` wrote to the other. States of the optimizer are left behind.
    #[command(after_help = EXIT_CODES)]
    Convert(Convert),
    /// Show what an import would do, and check it; reads headers only and writes nothing
    ///
    /// For a directory that `import` or training wrote: what an export would do.
    #[command(after_help = EXIT_CODES)]
    Plan {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        trained: Trained,
    },
    /// Follow one tensor: where it lies, which rule takes it, where it goes
    ///
    /// Of a directory that `import` or training wrote: where an export would take it.
    #[command(after_help = EXIT_CODES)]
    Explain {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        trained: Trained,
        /// A key of either side; of a group (`layers.{0..31}.…`, `layers.*.…`) the first one
        key: String,
    },
    /// State whether a checkpoint holds the numbers of its source, tensor by tensor, bit for bit
    ///
    /// Either may be a Hugging Face directory or one that `import` wrote. Between the two kinds the
    /// importer's mapping is followed; within one kind tensors are compared by name.
    #[command(after_help = EXIT_CODES)]
    Verify(Verify),
    /// Continue a text with a model, token by token, as it is computed
    #[cfg(feature = "candle")]
    #[command(after_help = EXIT_CODES)]
    Generate(Generate),
    /// Compute a model's logits for tokens, into a file that any other program can compare
    #[cfg(feature = "candle")]
    #[command(after_help = EXIT_CODES)]
    Logits(Logits),
    /// Fine-tune a model on examples, in full or with a low-rank adapter; killed, it goes on
    #[cfg(feature = "train")]
    #[command(after_help = EXIT_CODES)]
    Finetune(FineTune),
    /// Add a low-rank adapter to the weights of its model
    #[cfg(feature = "train")]
    #[command(after_help = EXIT_CODES)]
    Merge(Merge),
    /// Compare two checkpoints, or files of tensors, as they are, by the names of their tensors
    #[command(after_help = EXIT_CODES)]
    Diff(Diff),
    /// List the tensors of a file or a checkpoint directory: safetensors, torch_dist or torch_save
    #[command(after_help = EXIT_CODES)]
    Inspect {
        /// A file of tensors, a Hugging Face directory, an output of `import`, or a directory of
        /// NeMo, Megatron-LM or Megatron-Bridge
        #[arg(value_hint = ValueHint::AnyPath)]
        path: PathBuf,
        /// Every tensor by itself, with its place
        #[arg(long)]
        all: bool,
        /// Read every byte, and hold it against the checksums that files of torch have
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        iteration: Iteration,
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
    /// The paths that may be addresses on the hub, or the folders of runs.
    pub fn sources(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Command::Import(Import { selection, .. })
            | Command::Plan { selection, .. }
            | Command::Explain { selection, .. } => vec![&mut selection.source],
            Command::Cache { action: CacheAction::Path { selection, .. } } => {
                vec![&mut selection.source]
            }
            Command::Export(export) => {
                #[cfg(feature = "train")]
                let base = export.on.base.as_mut();
                #[cfg(not(feature = "train"))]
                let base = None;
                iter::once(&mut export.checkpoint).chain(base).collect()
            }
            Command::Convert(convert) => vec![&mut convert.checkpoint],
            Command::Verify(verify) => {
                #[cfg(feature = "candle")]
                let base = verify.logits.base.as_mut();
                #[cfg(not(feature = "candle"))]
                let base = None;
                [&mut verify.source, &mut verify.checkpoint].into_iter().chain(base).collect()
            }
            #[cfg(feature = "candle")]
            Command::Generate(Generate { computed: Computed { checkpoint, on, .. }, .. })
            | Command::Logits(Logits { computed: Computed { checkpoint, on, .. }, .. }) => {
                iter::once(checkpoint).chain(&mut on.base).collect()
            }
            #[cfg(feature = "train")]
            Command::Finetune(finetune) => vec![&mut finetune.source],
            #[cfg(feature = "train")]
            Command::Merge(merge) => {
                iter::once(&mut merge.checkpoint).chain(&mut merge.on.base).collect()
            }
            Command::Diff(diff) => vec![&mut diff.one, &mut diff.other],
            Command::Inspect { path, .. } => vec![path],
            Command::Scaffold { source, .. } => vec![source],
            Command::Cache { .. } | Command::List | Command::Completions { .. } | Command::Man => {
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;

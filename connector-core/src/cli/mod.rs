//! The commands of `connector`. [`main`] is the whole program: a binary of your own that calls it
//! has every command, with your importers in it.
//!
//! ```no_run
//! use std::process::ExitCode;
//! // use my_importers as _;   // links them, which is all it takes
//!
//! fn main() -> ExitCode {
//!     connector_core::cli::main()
//! }
//! ```
//!
//! Results go to standard output; progress, warnings and errors to standard error. With `--json` a
//! command prints one JSON document on standard output, whose `schema` names its layout
//! (`connector.plan/1`); errors are such a document too (`connector.error/1`). `docs/json.md` in
//! the repository describes them.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a state transform failed, or there is a defect |
//! | 2 | usage: an option, a pattern, the output path, no such importer, no such key |
//! | 3 | refused: the checkpoint, its config and the importer do not fit; nothing was written |
//! | 4 | input or output: a file is missing, unreadable, malformed or locked; the disk failed |
//! | 5 | verification: what was written is not what was planned, and was not published; two checkpoints differ |
//! | 130, 143 | interrupted by Ctrl-C, terminated; nothing was written |

mod advice;
mod args;
mod cache;
mod conversion;
mod convert;
mod exit;
mod explain;
mod export;
mod failure;
mod fetch;
mod findings;
#[cfg(feature = "train")]
mod finetune;
#[cfg(feature = "candle")]
mod generate;
mod import;
mod inspect;
mod layout;
mod list;
mod logging;
#[cfg(feature = "candle")]
mod logits;
mod memory;
mod nearest;
mod new_file;
mod overview;
mod page;
mod plan;
mod progress;
mod scaffold;
mod screen;
mod scripts;
mod signals;
mod size;
mod source;
mod style;
mod text;
mod timings;
mod verify;

use args::{Cli, Command};
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use exit::Exit;
use failure::Failure;
use screen::Screen;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use timings::Timings;

/// Runs the command that the process's arguments give, to its exit code.
pub fn main() -> ExitCode {
    run(std::env::args_os().collect()).into()
}

fn run(args: Vec<OsString>) -> Exit {
    let program = args.first().and_then(|path| Path::new(path).file_stem()?.to_str());
    let program = program.unwrap_or("connector").to_string();
    let json = args.iter().any(|arg| arg == "--json");
    let command = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default().to_string();
    let mut cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&with_tip(error, &command), json),
    };
    // Not for what allocates the same again and again: training, comparing.
    if let Command::Import(_) | Command::Export(_) | Command::Convert(_) = cli.command {
        memory::give_back_at_once();
    }
    let timings = cli.show.timings.then(Timings::default);
    logging::init(cli.show.verbose, cli.show.quiet, timings.as_ref());
    if let Err(error) = signals::outlive_file_limit() {
        tracing::warn!(%error, "a limit on the size of files would end this process");
    }
    let mut screen = Screen::new(cli.show.json, cli.show.quiet, cli.show.verbose > 0);
    screen.timings = timings;
    let exit = match fetch::sources(&mut cli.command, &screen)
        .and_then(|()| dispatch(&cli.command, &program, &mut screen))
    {
        Ok(exit) => exit,
        Err(failure) => {
            failure.report(&mut screen);
            failure.exit
        }
    };
    match screen.finish() {
        Ok(()) => exit,
        Err(error) => {
            let error = crate::store::Error::io("write", "standard output")(error);
            Failure::from(error).report(&mut Screen::new(false, false, false));
            Exit::Io
        }
    }
}

fn dispatch(command: &Command, program: &str, screen: &mut Screen) -> Result<Exit, Failure> {
    match command {
        Command::Import(args) => import::run(args, screen),
        Command::Export(args) => export::run(args, screen),
        Command::Convert(args) => convert::run(args, screen),
        Command::Plan { selection, trained } => plan::run(selection, trained, screen),
        Command::Explain { selection, trained, key } => {
            explain::run(selection, trained, key, screen)
        }
        Command::Verify(args) => verify::verify_command(args, screen),
        #[cfg(feature = "candle")]
        Command::Generate(args) => generate::run(args, screen),
        #[cfg(feature = "candle")]
        Command::Logits(args) => logits::run(args, screen),
        #[cfg(feature = "train")]
        Command::Finetune(args) => finetune::run(args, screen),
        #[cfg(feature = "train")]
        Command::Merge(args) => finetune::merge(args, screen),
        Command::Diff(args) => verify::diff_command(args, screen),
        Command::Inspect { path, all, check, iteration } => {
            inspect::run(path, inspect::Depth { all: *all, check: *check }, iteration, screen)
        }
        Command::Scaffold { source, like, output } => {
            scaffold::run(source, like.as_deref(), output.as_deref(), screen)
        }
        Command::Cache { action } => cache::run(action, screen),
        Command::List => list::run(screen),
        Command::Completions { shell } => scripts::completions(*shell, program, screen),
        Command::Man => scripts::manual(screen),
    }
}

/// Help and versions, which clap takes for errors, and mistakes in the command line.
/// Says where the output of a command belongs, if it was given as `cp` takes it.
fn with_tip(mut error: clap::Error, command: &str) -> clap::Error {
    let writes = ["import", "export", "convert", "finetune", "merge"];
    let output = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(given))
            if error.kind() == ErrorKind::UnknownArgument
                && !given.starts_with('-')
                && writes.contains(&command) =>
        {
            given.clone()
        }
        _ => return error,
    };
    let tip = format!("the output is given as '--output {output}'");
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

fn not_parsed(error: &clap::Error, json: bool) -> Exit {
    let text = error.to_string();
    if error.exit_code() == 0 || !json {
        let printable = text::printable_lines(&text);
        // A reader that has seen enough, as `head`, is no error. What clap repeats of the arguments may
        // control the terminal, and cannot be told from its own colours.
        let _ = match printable == text {
            true => error.print(),
            false => io::stderr().write_all(printable.as_bytes()),
        };
        return if error.exit_code() == 0 { Exit::Ok } else { Exit::Usage };
    }
    let mut parts = text.split("\n\n").map(str::trim);
    let message = parts.next().unwrap_or_default().trim_start_matches("error: ");
    let tips = parts.filter_map(|part| part.strip_prefix("tip: "));
    let failure = tips.fold(Failure::usage(message), Failure::help);
    failure.report(&mut Screen::new(true, false, false));
    Exit::Usage
}

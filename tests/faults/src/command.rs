//! The command line of the suite; and, in a process that the suite starts, the one under test.

use clap::Parser;
use connector_faults::cases::{CASES, Case, find};
use connector_faults::explore::{self, Order, PLAYS, Play};
use connector_faults::inject::Fault;
use connector_faults::powercut::{self, Effort};
use connector_faults::report;
use connector_faults::scene::AS_CONNECTOR;
use connector_faults::suite::{self, Selection};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Lets every file system call of connector's commands fail, and kills them at each
#[derive(Parser)]
#[command(name = "connector-faults")]
struct Args {
    /// Run all cases
    #[arg(long, required_unless_present_any = ["case", "list", "power_cut", "writers"])]
    all: bool,
    /// Run one case; may be repeated
    #[arg(long, value_name = "NAME", value_parser = case, conflicts_with = "all")]
    case: Vec<&'static Case>,
    /// Only the call of this number
    #[arg(long, value_name = "N", requires = "case")]
    call: Option<usize>,
    /// Only this fault: EIO, ENOSPC, …, short, end, kill-before, kill-after
    #[arg(long)]
    fault: Option<Fault>,
    /// Let the power go instead, at every moment; of all cases that wait for the disk, or one
    #[arg(long, conflicts_with = "all")]
    power_cut: bool,
    /// Let several commands work on one output instead, in every order of their calls
    #[arg(long, conflicts_with_all = ["all", "case", "power_cut"])]
    writers: bool,
    /// Only this play of several commands; may be repeated
    #[arg(long, value_name = "NAME", value_parser = play, requires = "writers")]
    play: Vec<&'static Play>,
    /// Only this order, as it is printed: 12:1,40:kill
    #[arg(long, requires = "play")]
    order: Option<Order>,
    /// How often another command goes on out of turn, or one is killed, at most
    #[arg(long, value_name = "N", default_value_t = 2, requires = "writers")]
    turns: usize,
    /// Every N-th fault, or order with the most turns, only
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: usize,
    /// Cases, or orders, at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// The program to try, in place of this package's own build of the command line
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// List the cases
    #[arg(long)]
    list: bool,
}

fn case(name: &str) -> Result<&'static Case, String> {
    find(name).ok_or_else(|| "there is no such case; --list has them".into())
}

fn play(name: &str) -> Result<&'static Play, String> {
    explore::find(name).ok_or_else(|| "there is no such play; --list has them".into())
}

pub(crate) fn main() -> ExitCode {
    if std::env::var_os(AS_CONNECTOR).is_some() {
        return connector_core::cli::main();
    }
    let args = Args::parse();
    if args.list {
        CASES.iter().for_each(|case| println!("{:26} {}", case.name, case.args.join(" ")));
        println!();
        PLAYS.iter().for_each(|play| println!("{:32} {} commands", play.name, play.actors.len()));
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
fn run(args: &Args) -> std::io::Result<bool> {
    let program = match &args.program {
        Some(program) => program.canonicalize()?,
        None => std::env::current_exe()?,
    };
    if args.power_cut {
        return power_cuts(&program, &args.case);
    }
    if args.writers {
        return writers(&program, args);
    }
    let cases = if args.all { CASES.iter().collect() } else { args.case.clone() };
    let selection = Selection { call: args.call, fault: args.fault, every: args.every };
    println!("{}", report::head());
    let told = |tally: &report::Tally| println!("{}", tally.row());
    let tallies = suite::run(&cases, &program, selection, args.threads, &told)?;
    println!("\n{}", report::closing(&tallies));
    Ok(tallies.iter().all(|tally| tally.violations.is_empty()))
}

/// Whether everything held.
fn power_cuts(program: &Path, cases: &[&'static Case]) -> std::io::Result<bool> {
    const EFFORT: Effort = Effort { samples: 100, runs: 100 };
    let is_wanted = |name: &&&str| cases.is_empty() || cases.iter().any(|case| case.name == **name);
    let mut failed = 0;
    for case in powercut::CASES.iter().filter(is_wanted) {
        for outcome in powercut::run(case, program, EFFORT)? {
            println!("{outcome}");
            failed += outcome.wrong.len();
        }
    }
    println!("{failed} failed");
    Ok(failed == 0)
}

/// Whether everything held.
fn writers(program: &Path, args: &Args) -> std::io::Result<bool> {
    let plays = if args.play.is_empty() { PLAYS.iter().collect() } else { args.play.clone() };
    let (mut passed, mut failed) = (0, 0);
    for play in plays {
        let (orders, kills, violations) = match &args.order {
            Some(order) => {
                let wrong = explore::replay(play, program, order)?;
                let all = if wrong.is_empty() { Vec::new() } else { vec![(order.clone(), wrong)] };
                (1, usize::from(order.kills()), all)
            }
            None => {
                let all = explore::explore(play, program, args.turns, args.every, args.threads)?;
                (all.orders, all.kills, all.violations)
            }
        };
        println!("{:32} {orders:7} orders, {kills:7} with a kill", play.name);
        for (order, wrong) in &violations {
            println!("  --writers --play '{}' --order {order}", play.name);
            wrong.iter().for_each(|wrong| println!("    {wrong}"));
        }
        passed += orders - violations.len();
        failed += violations.len();
    }
    println!("\n{passed} passed, {failed} failed");
    Ok(failed == 0)
}

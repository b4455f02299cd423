//! `connector` against `cp` on checkpoints that it makes up: the numbers of `PERFORMANCE.md`.
//!
//! ```text
//! cargo bench -p connector-core --bench vs_cp -- --dir DIR [--pairs N] [--untouched] [CASE …]
//! ```
//!
//! Each case runs the two programs in turn, A B A B, on the same data and the same disk, and keeps
//! every run in `vs_cp-runs.csv`. A ratio is taken within each pair, so that a machine that gets
//! slower for a while slows both sides. Before each run all free memory is touched (`warm.rs` says
//! why), unless `--untouched`; the column `host` counts the runs of A and of B during which the host
//! took memory back all the same. DIR needs 14 GB, 22 GB for the cases of memory, cast and 8 GB, 34 GB
//! for those of 16 GB; what is made there is removed at the end.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

mod cases;
mod generate;
mod measure;
mod models;
mod warm;

use cases::{Data, PAIRED, SOLO, Solo};
use measure::{AS_TOOL, Program, Run, Spread};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// As `connector` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: cargo bench -p connector-core --bench vs_cp -- --dir DIR [--pairs N] \
                     [--keep] [--untouched] [CASE …]";

fn main() -> ExitCode {
    if std::env::var_os(AS_TOOL).is_some() {
        return connector_core::cli::main();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["make", data, dir] => Data::write(data, dir.as_ref()),
        ["touch"] => warm::touch(),
        _ => Options::parse(words).and_then(|options| Bench::new(options)?.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where the host takes back more than this during a run, the run is slower for it.
const DISTURBS: u64 = 64 << 20;

struct Options {
    dir: PathBuf,
    pairs: usize,
    /// Whether the data stays for the next time.
    keep: bool,
    /// Whether free memory is left as it is before a run.
    untouched: bool,
    /// The cases to run; all if none is named.
    cases: Vec<String>,
}

impl Options {
    fn parse(words: Vec<String>) -> io::Result<Self> {
        let (dir, cases) = (PathBuf::new(), Vec::new());
        let mut options = Options { dir, pairs: 5, keep: false, untouched: false, cases };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--dir" => options.dir = words.next().unwrap_or_default().into(),
                "--pairs" => {
                    let number = words.next().unwrap_or_default().parse();
                    options.pairs = number.map_err(|_| io::Error::other(USAGE))?;
                }
                "--keep" => options.keep = true,
                "--untouched" => options.untouched = true,
                // What cargo adds.
                "--bench" => {}
                case if case_names().any(|known| known == case) => options.cases.push(word),
                _ => {
                    let cases = case_names().collect::<Vec<_>>().join(" ");
                    return Err(io::Error::other(format!("{USAGE}\ncases: {cases}")));
                }
            }
        }
        if options.dir.as_os_str().is_empty() {
            return Err(io::Error::other(USAGE));
        }
        Ok(options)
    }

    fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|wanted| wanted == case)
    }
}

fn case_names() -> impl Iterator<Item = &'static str> {
    PAIRED.iter().map(|case| case.name).chain(SOLO.iter().map(|case| case.name))
}

struct Bench {
    options: Options,
    runs: File,
    table: String,
}

impl Bench {
    fn new(options: Options) -> io::Result<Self> {
        fs::create_dir_all(&options.dir)?;
        let mut runs = File::create(options.dir.join("vs_cp-runs.csv"))?;
        writeln!(runs, "case,pair,program,seconds,cpu_seconds,peak_bytes,taken_back_bytes")?;
        Ok(Bench { options, runs, table: String::new() })
    }

    fn run(mut self) -> io::Result<()> {
        let wanted = |name| self.options.wants(name);
        let paired: Vec<_> = PAIRED.iter().filter(|case| wanted(case.name)).collect();
        let solo: Vec<_> = SOLO.iter().filter(|case| wanted(case.name)).collect();
        if !paired.is_empty() {
            self.line(
                "| case | A | B | A/B, wall (range) | target | A, s | B, s | CPU A/B | peak of A | host |",
            );
            self.line("|---|---|---|---|---|---|---|---|---|---|");
        }
        for (number, case) in paired.iter().enumerate() {
            self.paired(case)?;
            // What no later case needs makes room.
            let later: Vec<Data> = paired[number + 1..].iter().map(|c| c.data).collect();
            self.clean(&later)?;
        }
        if !solo.is_empty() {
            self.line("");
            self.line("| case | program | seconds | CPU, s | peak | target |");
            self.line("|---|---|---|---|---|---|");
        }
        for case in solo {
            self.solo(case)?;
            self.clean(&[])?;
        }
        println!("\n{}", self.table);
        Ok(())
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.table.push_str(line);
        self.table.push('\n');
    }

    /// Removes the data that no case to come needs.
    fn clean(&self, needed: &[Data]) -> io::Result<()> {
        for data in Data::ALL {
            if !self.options.keep && !needed.iter().any(|other| other.is_made_of(data)) {
                remove(&data.path(&self.options.dir))?;
            }
        }
        Ok(())
    }

    fn paired(&mut self, case: &cases::Paired) -> io::Result<()> {
        let source = case.data.make(&self.options.dir)?;
        let output = self.options.dir.join("output");
        let (ours, theirs) = ((case.ours)(&source, &output)?, (case.theirs)(&source, &output)?);
        let mut pairs: Vec<[Run; 2]> = Vec::new();
        for pair in 0..self.options.pairs {
            let mut both = [Run::default(); 2];
            for (run, program) in both.iter_mut().zip([&ours, &theirs]) {
                remove(&output)?;
                settle(&self.options.dir)?;
                each_file(&source, &|file| if case.cold { evict(file) } else { read(file) })?;
                self.warm()?;
                *run = program.run()?;
                self.keep_run(case.name, pair, program, run)?;
            }
            remove(&output)?;
            pairs.push(both);
        }
        let of =
            |side: usize, what: fn(&Run) -> f64| Spread::of(pairs.iter().map(|p| what(&p[side])));
        let ratio =
            |what: fn(&Run) -> f64| Spread::of(pairs.iter().map(|p| what(&p[0]) / what(&p[1])));
        let peak = pairs.iter().map(|pair| pair[0].peak).max().unwrap_or(0);
        let wall = ratio(|run| run.wall);
        let disturbed = |side: usize| {
            let counts: Option<Vec<u64>> = pairs.iter().map(|pair| pair[side].taken_back).collect();
            let slower = |counts: Vec<u64>| counts.into_iter().filter(|&n| n > DISTURBS).count();
            counts.map_or("-".into(), |counts| slower(counts).to_string())
        };
        let line = format!(
            "| {} | `{ours}` | {} | **{wall}** | {} | {} | {} | {} | {} | {}, {} |",
            case.name,
            case.against,
            case.target,
            of(0, |run| run.wall),
            of(1, |run| run.wall),
            ratio(|run| run.cpu),
            mib(peak),
            disturbed(0),
            disturbed(1),
        );
        self.line(&line);
        Ok(())
    }

    fn solo(&mut self, case: &Solo) -> io::Result<()> {
        for (data, program) in (case.programs)()? {
            let source = data.make(&self.options.dir)?;
            let output = self.options.dir.join("output");
            let program = program(&source, &output)?;
            let mut runs = Vec::new();
            for number in 0..case.runs {
                remove(&output)?;
                settle(&self.options.dir)?;
                self.warm()?;
                let run = program.run()?;
                self.keep_run(case.name, number, &program, &run)?;
                runs.push(run);
            }
            remove(&output)?;
            let wall = Spread::of(runs.iter().map(|run| run.wall));
            let cpu = Spread::of(runs.iter().map(|run| run.cpu));
            let peak = runs.iter().map(|run| run.peak).max().unwrap_or(0);
            let (name, target) = (case.name, case.target);
            self.line(&format!(
                "| {name}, {data} | `{program}` | {wall} | {cpu} | {} | {target} |",
                mib(peak)
            ));
            if !self.options.keep {
                remove(&source)?;
            }
        }
        Ok(())
    }

    /// Makes the host of a virtual machine give all free memory, if that was not declined.
    fn warm(&self) -> io::Result<()> {
        if self.options.untouched { Ok(()) } else { Program::this("touch")?.run().map(drop) }
    }

    fn keep_run(
        &mut self,
        case: &str,
        pair: usize,
        program: &Program,
        run: &Run,
    ) -> io::Result<()> {
        let Run { wall, cpu, peak, taken_back } = run;
        let taken_back = taken_back.map_or(String::new(), |bytes| bytes.to_string());
        writeln!(self.runs, "{case},{pair},{program},{wall:.3},{cpu:.3},{peak},{taken_back}")
    }
}

fn mib(bytes: u64) -> String {
    let mut text = String::new();
    let _ = write!(text, "{} MiB", bytes.div_ceil(1 << 20));
    text
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits until the disk has what was written before, so that the next run finds it idle.
fn settle(dir: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(dir)?)?;
    let _ = dir;
    Ok(())
}

fn each_file(dir: &Path, what: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { each_file(&path, what)? } else { what(&path)? }
    }
    Ok(())
}

/// Reads a file, so that it is in the system's cache.
fn read(path: &Path) -> io::Result<()> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 20]);
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Asks the system to forget a file. (A virtual disk may still be cached by its host.)
fn evict(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    drop(file);
    Ok(())
}

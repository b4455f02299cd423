//! Runs programs and tells what they took.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one run of a program took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of processors, in the program and in the kernel on its behalf.
    pub cpu: f64,
    /// The most memory that it had at once, in bytes.
    pub peak: u64,
    /// The free memory that the host took back meanwhile, in bytes, where the system counts it.
    pub taken_back: Option<u64>,
}

/// A program with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    words: Vec<OsString>,
    /// Set for the program: it is this one, to act as `connector` with the models of the benchmark.
    own: bool,
}

/// The variable that makes this program act as `connector`.
pub const AS_TOOL: &str = "VS_CP_AS_TOOL";

impl Program {
    /// `connector` as it is shipped, or what `VS_CP_CONNECTOR` names.
    pub fn connector() -> Self {
        let named = std::env::var_os("VS_CP_CONNECTOR");
        let words = vec![named.unwrap_or_else(|| env!("CARGO_BIN_EXE_connector").into())];
        Program { words, own: false }
    }

    /// This program, to do something else: in a process of its own, since the peak of memory that the
    /// system gives for a program is at least that of the one that started it.
    pub fn this(command: &str) -> io::Result<Self> {
        let words = vec![std::env::current_exe()?.into(), command.into()];
        Ok(Program { words, own: false })
    }

    /// `connector` with the models of the benchmark.
    pub fn own_connector() -> io::Result<Self> {
        Ok(Program { words: vec![std::env::current_exe()?.into()], own: true })
    }

    /// Another program, looked up in `PATH`.
    pub fn new(name: &str) -> Self {
        Program { words: vec![name.into()], own: false }
    }

    /// With one more argument.
    pub fn arg(mut self, word: impl Into<OsString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// With more arguments, which stand in one text, apart by spaces.
    pub fn args(self, words: &str) -> Self {
        words.split_whitespace().fold(self, Program::arg)
    }

    /// Runs it to its end, which must be a success.
    pub fn run(&self) -> io::Result<Run> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        if self.own {
            command.env(AS_TOOL, "1");
        }
        let before = taken_back();
        let start = Instant::now();
        let child = command.spawn()?;
        let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
        let mut status = 0;
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both pointers are valid for the call, and nobody else waits for this child.
        let waited = unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) };
        let wall = start.elapsed().as_secs_f64();
        if waited != pid {
            return Err(io::Error::last_os_error());
        }
        if status != 0 {
            return Err(io::Error::other(format!("{self} failed with status {status:#x}")));
        }
        // SAFETY: it was zeroed, which is a valid value, and then filled by wait4.
        let usage = unsafe { usage.assume_init() };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        Ok(Run {
            wall,
            cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            peak: usage.ru_maxrss as u64 * unit,
            taken_back: taken_back().zip(before).map(|(now, before)| now - before),
        })
    }
}

/// The bytes that the host of this virtual machine has taken back, where the system counts them.
fn taken_back() -> Option<u64> {
    let count = std::fs::read_to_string("/sys/module/page_reporting/parameters/reported_kib");
    Some(count.ok()?.trim().parse::<u64>().ok()? << 10)
}

/// As it would be typed, with the directory of each path left out.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |word: &OsString| {
            let word = word.to_string_lossy();
            word.rsplit_once('/').map_or(word.to_string(), |(_, name)| name.into())
        };
        f.write_str(&self.words.iter().map(short).collect::<Vec<_>>().join(" "))
    }
}

/// The smallest, the middle and the largest of some numbers.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = numbers.into_iter().collect();
        all.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (all.first(), all.last()) else {
            return Spread { min: f64::NAN, median: f64::NAN, max: f64::NAN };
        };
        let middle = all.len() / 2;
        let median = if all.len().is_multiple_of(2) {
            (all[middle - 1] + all[middle]) / 2.0
        } else {
            all[middle]
        };
        Spread { min, median, max }
    }
}

/// `0.72 (0.65-0.81)`
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}-{:.2})", self.median, self.min, self.max)
    }
}

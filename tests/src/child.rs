use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A run of the command line in a process of its own, which may die.
pub struct Child {
    command: Command,
}

/// How a [`Child`] ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed, results and messages.
    pub text: String,
}

impl Child {
    /// An import of `source` into `out` by `program`, `CARGO_BIN_EXE_connector-under-test`.
    pub fn import(program: &str, source: &Path, out: &Path) -> Self {
        let mut child = Child::new(program, &["import"]);
        child.command.arg(source).arg("--output").arg(out);
        // Where a process that aborts may leave its core.
        child.command.current_dir(out.parent().expect("a directory"));
        child
    }

    /// Any command of `program`.
    pub fn new(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).env_remove("CONNECTOR_FAILPOINTS").env_remove("RUST_LOG");
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        Child { command }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Says what happens at which failpoint, `engine.chunk=abort@3`.
    #[must_use]
    pub fn failpoints(mut self, points: &str) -> Self {
        self.command.env("CONNECTOR_FAILPOINTS", points);
        self
    }

    /// Runs to the end.
    pub fn run(mut self) -> Ended {
        self.command.output().expect("the program").into()
    }

    /// Starts it and does not wait.
    pub fn start(mut self) -> std::process::Child {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().expect("the program")
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = [output.stdout, output.stderr].concat();
        Ended { code: output.status.code(), text: String::from_utf8_lossy(&text).into() }
    }
}

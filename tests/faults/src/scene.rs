//! A directory in which a command runs again and again, each time from the same state.

use crate::cases::{Case, Promise, Scenery};
use crate::trace::{Action, Call, Ending, Errno, Event, Kind, Process, Return, Session, Thread};
use crate::tree::{Tree, copy_tree, part, tree, without_key};
use connector_tests::{HubServer, fixture};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The variable that makes the binary of this package the command line under test.
pub const AS_CONNECTOR: &str = "CONNECTOR_FAULTS_AS_CONNECTOR";

/// Longer than any command takes: one that waits longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A call as it can be found again in another run: the n-th of its name on its files. The order of
/// calls on different files may be another each time, as threads come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The call's name.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Whether it may create a file.
    pub creates: bool,
    /// Whether it is on the descriptor of a directory.
    pub on_directory: bool,
    /// The files, from the directory on.
    pub paths: Vec<String>,
    /// How many such calls were before.
    pub nth: usize,
}

/// How a run went.
pub struct Ran {
    /// How it ended.
    pub ending: Ending,
    /// What it printed, results and messages, with names as trees have them.
    pub text: String,
    /// Whether it had to be ended, as it waited for ever.
    pub hung: bool,
}

/// Who watches a run and decides upon its calls.
pub trait Watch {
    /// What becomes of a call.
    fn call(&mut self, call: &Call, key: &Key) -> Verdict;

    /// A call has returned that was to be observed, or after which the process is killed.
    fn returned(&mut self, _call: &Call, _returned: &Return) {}
}

/// What becomes of a call, or of the process that is about to make it.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// The call is dealt with.
    Act(Action),
    /// The process is killed before.
    KillBefore,
    /// The process is killed as soon as the call has returned.
    KillAfter,
}

/// A directory prepared for a case, and what the case does there if nothing fails.
pub struct Scene {
    /// The case.
    pub case: &'static Case,
    program: PathBuf,
    dir: tempfile::TempDir,
    server: Option<HubServer>,
    /// What is there before the command.
    pub before: Tree,
    /// What is there after it.
    pub after: Tree,
    /// The states that each target had meanwhile.
    pub states: Vec<Vec<Tree>>,
    /// The calls that the command made.
    pub calls: Vec<Key>,
    /// What did not hold though nothing failed.
    pub wrong: Vec<String>,
}

impl Scene {
    /// Prepares a case, and runs its command once.
    ///
    /// # Errors
    /// If a command fails.
    pub fn new(case: &'static Case, program: &Path) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let server = case.hub.then(|| HubServer::start(&fixture("llama/hf")));
        let mut scene = Scene {
            case,
            program: program.into(),
            dir,
            server,
            before: Tree::new(),
            after: Tree::new(),
            states: Vec::new(),
            calls: Vec::new(),
            wrong: Vec::new(),
        };
        scene.prepare()?;
        scene.rehearse()?;
        Ok(scene)
    }

    /// Where the command runs.
    pub fn stage(&self) -> PathBuf {
        // `/tmp` may be a link.
        let dir = self.dir.path().canonicalize();
        dir.unwrap_or_else(|_| self.dir.path().into()).join(STAGE)
    }

    fn template(&self) -> PathBuf {
        self.dir.path().join("template")
    }

    /// What is there now.
    pub fn now(&self) -> io::Result<Tree> {
        tree(&self.stage())
    }

    /// Makes everything as it was before the command.
    pub fn reset(&self) -> io::Result<()> {
        let stage = self.stage();
        if stage.exists() {
            fs::remove_dir_all(&stage)?;
        }
        copy_tree(&self.template(), &stage)
    }

    fn prepare(&mut self) -> io::Result<()> {
        let stage = self.stage();
        fs::create_dir(&stage)?;
        let run = |args: &[&str]| {
            let output = self.command(args).output()?;
            if output.status.success() {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("{}: {args:?} fails: {text}", self.case.name)))
        };
        (self.case.prepare)(&Scenery { dir: &stage, run: &run })?;
        // Paths inside files stay right: what is copied back lies where it was made.
        fs::rename(&stage, self.template())
    }

    fn rehearse(&mut self) -> io::Result<()> {
        self.reset()?;
        self.before = self.now()?;
        let targets = self.case.targets;
        let states = targets.iter().map(|target| vec![part(&self.before, target.path)]).collect();
        let mut rehearsal =
            Rehearsal { stage: self.stage(), case: self.case, calls: Vec::new(), states };
        let ran = self.run(self.case.args, &mut rehearsal)?;
        if ran.ending != Ending::Code(0) {
            let what = format!("{}: {:?}: {}", self.case.name, ran.ending, ran.text);
            return Err(io::Error::other(what));
        }
        (self.calls, self.states) = (rehearsal.calls, rehearsal.states);
        self.after = self.now()?;
        for (target, states) in targets.iter().zip(&mut self.states) {
            if let Promise::Whole(count) = target.promise
                && count != states.len()
            {
                let what = format!("{} had {} states, not {count}", target.path, states.len());
                self.wrong.push(what);
                *states = [&self.before, &self.after].map(|tree| part(tree, target.path)).into();
            }
        }
        Ok(())
    }

    /// The command line under test, with nothing of this process's environment.
    fn command(&self, args: &[&str]) -> Command {
        let stage = self.stage();
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&stage).env_clear().stdin(Stdio::null());
        command.env(AS_CONNECTOR, "1").env("NO_COLOR", "1").env("RAYON_NUM_THREADS", "1");
        command.env("HOME", stage.join("home")).env("NEMO_HOME", stage.join("nemo"));
        command.env("HF_HOME", stage.join("hf"));
        match &self.server {
            Some(server) => command.env("HF_ENDPOINT", server.endpoint()),
            None => command.env("HF_HUB_OFFLINE", "1"),
        };
        command
    }

    /// Runs a command as the directory is now.
    ///
    /// # Errors
    /// If it cannot be traced.
    pub fn run(&self, args: &[&str], watch: &mut dyn Watch) -> io::Result<Ran> {
        let printed = self.dir.path().join("printed");
        let text = File::create(&printed)?;
        let mut command = self.command(args);
        command.stdout(text.try_clone()?).stderr(text);
        let stage = self.stage();
        let mut session = Session::new([stage.clone()]);
        let (process, _child) = session.spawn(&mut command)?;
        let (done, watchdog) = watchdog(process);
        let ending = drive(&mut session, &stage, self.case.lacks, watch)?;
        drop(done);
        let hung = watchdog.join().unwrap_or(true);
        let text = without_key(&String::from_utf8_lossy(&fs::read(&printed)?));
        Ok(Ran { ending, text, hung })
    }
}

/// The name of the directory in which commands run.
pub const STAGE: &str = "stage";

/// Ends a process that waits for ever. It is told of the end by the sender's.
fn watchdog(process: Process) -> (std::sync::mpsc::Sender<()>, thread::JoinHandle<bool>) {
    let (done, ended) = channel();
    let wait = move || {
        let hangs = ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            process.kill();
        }
        hangs
    };
    (done, thread::spawn(wait))
}

/// Runs a session of one process to its end.
fn drive(
    session: &mut Session,
    stage: &Path,
    lacks: &[(&str, i32)],
    watch: &mut dyn Watch,
) -> io::Result<Ending> {
    let mut counts: HashMap<(&str, Vec<String>), usize> = HashMap::new();
    // Calls whose return is waited for, and whether it is the last thing that the process does.
    let mut observed: HashMap<Thread, (Call, bool)> = HashMap::new();
    let mut ending = None;
    while let Some(event) = session.next_event()? {
        match event {
            Event::Call(call) => {
                let lacking = lacks.iter().find(|(name, _)| *name == call.syscall.name);
                if let Some(&(_, errno)) = lacking {
                    session.release(&call, Action::Fail(Errno(errno)))?;
                    continue;
                }
                let paths = shown(stage, &call);
                let count = counts.entry((call.syscall.name, paths.clone())).or_default();
                let key = Key {
                    name: call.syscall.name,
                    kind: call.kind(),
                    creates: call.creates(),
                    on_directory: call.is_on_directory(),
                    paths,
                    nth: *count,
                };
                *count += 1;
                match watch.call(&call, &key) {
                    Verdict::KillBefore => session.kill(call.process)?,
                    Verdict::KillAfter => {
                        session.release(&call, Action::Observe)?;
                        observed.insert(call.thread, (call, true));
                    }
                    Verdict::Act(action) => {
                        session.release(&call, action)?;
                        if action == Action::Observe {
                            observed.insert(call.thread, (call, false));
                        }
                    }
                }
            }
            Event::Return(returned) => {
                let observed = observed.remove(&returned.thread);
                if let Some((call, _)) = &observed {
                    watch.returned(call, &returned);
                }
                match observed {
                    Some((call, true)) => session.kill(call.process)?,
                    _ => session.resume(&returned)?,
                }
            }
            Event::Exit(_, how) => ending = Some(how),
        }
    }
    ending.ok_or_else(|| io::Error::other("the process went without a trace"))
}

/// The files of a call from the directory on, without what is another in each run.
fn shown(stage: &Path, call: &Call) -> Vec<String> {
    let process = call.process.id().to_string();
    let shown = |path: &PathBuf| {
        let path = path.strip_prefix(stage).unwrap_or(path).to_string_lossy();
        let parts = path.split('/').map(|part| match part.contains(&process) {
            true => part.replace(&process, "PID"),
            false => without_key(part),
        });
        parts.collect::<Vec<_>>().join("/")
    };
    call.paths.iter().map(shown).collect()
}

/// Lists the calls of a run, and the states of its targets.
struct Rehearsal {
    stage: PathBuf,
    case: &'static Case,
    calls: Vec<Key>,
    states: Vec<Vec<Tree>>,
}

impl Watch for Rehearsal {
    fn call(&mut self, call: &Call, key: &Key) -> Verdict {
        self.calls.push(key.clone());
        // What changes names changes what is to be seen at the target.
        let kinds = [Kind::Rename, Kind::Link, Kind::Make, Kind::Remove];
        let changes = kinds.contains(&call.kind()) || key.creates || call.kind() == Kind::Write;
        Verdict::Act(if changes { Action::Observe } else { Action::Make })
    }

    fn returned(&mut self, _call: &Call, _returned: &Return) {
        // One that goes away while it is listed is seen at the next call.
        let Ok(now) = tree(&self.stage) else { return };
        for (target, states) in self.case.targets.iter().zip(&mut self.states) {
            let state = part(&now, target.path);
            if !states.contains(&state) {
                states.push(state);
            }
        }
    }
}

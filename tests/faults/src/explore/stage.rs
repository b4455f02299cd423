//! Where a play is played: a directory that is as it was before each time.

use super::order::{Order, Played, Turn};
use super::plays::Play;
use crate::scene::AS_CONNECTOR;
use crate::trace::{Action, Call, Ending, Errno, Event, Kind, Process, Return, Session, Thread};
use crate::tree::{Tree, copy_tree, part, tree};
use connector_tests::fixture;
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// More calls than any order has: one that has more does not end.
const MOST: usize = 5_000;

pub(super) struct Stage {
    play: &'static Play,
    program: PathBuf,
    dir: tempfile::TempDir,
    /// The states that the output may have.
    whole: Vec<Tree>,
}

/// A command under way.
struct Actor {
    process: Process,
    /// Calls before which its threads are held.
    held: VecDeque<Call>,
    ended: Option<Ending>,
    /// Whether it waits for a lock that another has.
    waits: bool,
    killed: bool,
    /// Whether its success means that there is an output.
    imports: bool,
}

impl Stage {
    pub fn new(play: &'static Play, program: &Path) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut stage = Stage { play, program: program.into(), dir, whole: Vec::new() };
        let source = stage.root().join("source");
        fs::create_dir(&source)?;
        copy_tree(&fixture("llama/hf"), &source.join("hf"))?;
        fs::create_dir(stage.path())?;
        for args in play.before {
            stage.must(args)?;
        }
        fs::rename(stage.path(), stage.template())?;
        // What each of them would make alone.
        stage.reset()?;
        stage.whole.push(stage.target()?);
        for args in play.actors {
            stage.reset()?;
            stage.must(args)?;
            stage.whole.push(stage.target()?);
        }
        Ok(stage)
    }

    /// Without links, as the system names files.
    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap_or_else(|_| self.dir.path().into())
    }

    fn path(&self) -> PathBuf {
        self.root().join("stage")
    }

    fn template(&self) -> PathBuf {
        self.root().join("template")
    }

    fn reset(&self) -> io::Result<()> {
        if self.path().exists() {
            fs::remove_dir_all(self.path())?;
        }
        copy_tree(&self.template(), &self.path())
    }

    fn target(&self) -> io::Result<Tree> {
        Ok(part(&tree(&self.path())?, self.play.target))
    }

    fn command(&self, args: &[&str]) -> Command {
        let stage = self.path();
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&stage).env_clear().stdin(Stdio::null());
        command.env(AS_CONNECTOR, "1").env("NO_COLOR", "1").env("HF_HUB_OFFLINE", "1");
        command.env("HOME", stage.join("home")).env("NEMO_HOME", stage.join("nemo"));
        command
    }

    /// Runs a command to its end, which must be a good one.
    fn must(&self, args: &[&str]) -> io::Result<()> {
        let output = self.command(args).output()?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{}: {args:?} fails: {text}", self.play.name)))
    }

    /// Plays an order.
    pub fn play(&self, order: &Order) -> io::Result<Played> {
        self.reset()?;
        let mut troupe = Troupe::start(self, self.play.actors)?;
        troupe.perform(order)?;
        let mut played = Played { decisions: troupe.decisions, wrong: troupe.wrong };
        let killed = troupe.actors.iter().any(|actor| actor.killed);
        drop(troupe.session);
        if killed {
            let mut next = Troupe::start(self, &[self.play.next])?;
            next.number = "next";
            next.perform(&Order::default())?;
            played.wrong.append(&mut next.wrong);
            if self.target()?.is_empty() {
                played.wrong.push("there is no output after the next run".into());
            }
        }
        let now = tree(&self.path())?;
        let litter = now.keys().filter(|name| name.contains(".connector-"));
        played.wrong.extend(litter.map(|name| format!("{name} is left")));
        Ok(played)
    }
}

/// The actors of a play under way.
struct Troupe<'a> {
    stage: &'a Stage,
    session: Session,
    actors: Vec<Actor>,
    /// Calls whose return is waited for.
    observed: HashMap<Thread, Call>,
    decisions: Vec<Vec<usize>>,
    wrong: Vec<String>,
    /// Whether the output was there.
    was_there: bool,
    /// What the actors are called in messages.
    number: &'static str,
}

impl<'a> Troupe<'a> {
    fn start(stage: &'a Stage, commands: &[&[&str]]) -> io::Result<Self> {
        let mut session = Session::new([stage.path()]);
        let mut actors = Vec::new();
        for (number, args) in commands.iter().enumerate() {
            let printed = File::create(stage.printed(number))?;
            let mut command = stage.command(args);
            command.stdout(printed.try_clone()?).stderr(printed);
            let (process, _) = session.spawn(&mut command)?;
            actors.push(Actor {
                process,
                held: VecDeque::new(),
                ended: None,
                waits: false,
                killed: false,
                imports: args[0] == "import",
            });
        }
        let was_there = !stage.target()?.is_empty();
        let (observed, decisions, wrong) = (HashMap::new(), Vec::new(), Vec::new());
        Ok(Troupe {
            stage,
            session,
            actors,
            observed,
            decisions,
            wrong,
            was_there,
            number: "actor",
        })
    }

    /// Plays to the end.
    fn perform(&mut self, order: &Order) -> io::Result<()> {
        let mut current = 0;
        while let Some(next) = self.choose(current) {
            current = next;
            self.settle(current)?;
            if self.actors[current].held.is_empty() {
                continue;
            }
            let number = self.decisions.len();
            if number == MOST {
                self.wrong.push(format!("it did not end after {MOST} calls"));
                return Ok(());
            }
            let others = |number: &usize| {
                *number != current
                    && self.actors[*number].ended.is_none()
                    && !self.actors[*number].waits
            };
            self.decisions.push((0..self.actors.len()).filter(others).collect());
            match order.turn(number) {
                Some(Turn::To(other)) if other < self.actors.len() => current = other,
                Some(Turn::Kill) => {
                    let actor = &mut self.actors[current];
                    actor.killed = true;
                    actor.held.clear();
                    self.session.kill(actor.process)?;
                    self.settle(current)?;
                }
                _ => self.step(current)?,
            }
        }
        self.judge_endings()
    }

    /// Who goes on: `current` if it can, else the first that can; `None` if all have ended.
    fn choose(&mut self, current: usize) -> Option<usize> {
        let goes_on = |actor: &Actor| actor.ended.is_none() && !actor.waits;
        if goes_on(&self.actors[current]) {
            return Some(current);
        }
        if let Some(next) = self.actors.iter().position(goes_on) {
            return Some(next);
        }
        // Those that wait for nobody who is left.
        self.actors.iter_mut().for_each(|actor| actor.waits = false);
        self.actors.iter().position(|actor| actor.ended.is_none())
    }

    /// Waits until an actor is held before a call, waits for a lock, or has ended.
    fn settle(&mut self, current: usize) -> io::Result<()> {
        loop {
            let actor = &self.actors[current];
            if actor.ended.is_some() || actor.waits || (!actor.held.is_empty() && !actor.killed) {
                return Ok(());
            }
            let Some(event) = self.session.next_event()? else { return Ok(()) };
            self.take(event)?;
        }
    }

    /// Lets an actor make the call that it is held before.
    fn step(&mut self, current: usize) -> io::Result<()> {
        let Some(call) = self.actors[current].held.pop_front() else { return Ok(()) };
        let refused = self.stage.play.lacks.iter().find_map(|lack| lack.refuses(&call));
        let action = match refused {
            Some(errno) => Action::Fail(Errno(errno)),
            None if changes(&call) || call.kind() == Kind::Lock => Action::Observe,
            None => Action::Make,
        };
        self.session.release(&call, action)?;
        if action == Action::Observe {
            self.observed.insert(call.thread, call);
        }
        // Its return comes before anybody else goes on.
        while !self.observed.is_empty() {
            let Some(event) = self.session.next_event()? else { return Ok(()) };
            self.take(event)?;
        }
        self.settle(current)
    }

    fn take(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Call(call) => {
                let actor = self.actors.iter_mut().find(|actor| actor.process == call.process);
                match actor {
                    Some(actor) if self.stage.is_shared(&call) => actor.held.push_back(call),
                    _ => self.session.release(&call, Action::Make)?,
                }
            }
            Event::Return(returned) => self.returned(&returned)?,
            Event::Exit(process, ending) => self.exited(process, ending)?,
        }
        Ok(())
    }

    fn returned(&mut self, returned: &Return) -> io::Result<()> {
        if let Some(call) = self.observed.remove(&returned.thread) {
            let process = call.process;
            match (call.kind(), returned.result) {
                (Kind::Lock, Err(Errno(libc::EAGAIN))) => {
                    self.actors
                        .iter_mut()
                        .filter(|a| a.process == process)
                        .for_each(|a| a.waits = true);
                }
                _ => self.actors.iter_mut().for_each(|actor| actor.waits = false),
            }
            self.look(&format!("{} {:?}", call.syscall.name, call.paths))?;
        }
        self.session.resume(returned)
    }

    fn exited(&mut self, process: Process, ending: Ending) -> io::Result<()> {
        self.observed.retain(|_, call| call.process != process);
        self.actors.iter_mut().for_each(|actor| actor.waits = false);
        let Some(number) = self.actors.iter().position(|actor| actor.process == process) else {
            return Ok(());
        };
        let actor = &mut self.actors[number];
        actor.ended = Some(ending);
        actor.held.clear();
        let made = ending == Ending::Code(0) && actor.imports;
        if made && !self.stage.play.vanishes && self.stage.target()?.is_empty() {
            self.wrong.push(format!("{} {number} succeeds, and there is no output", self.number));
        }
        Ok(())
    }

    /// The output is whole at every moment.
    fn look(&mut self, after: &str) -> io::Result<()> {
        let now = self.stage.target()?;
        let is_there = !now.is_empty();
        if is_there && !self.stage.whole.contains(&now) {
            let names: Vec<_> = now.keys().map(String::as_str).collect();
            self.wrong.push(format!("the output is torn after {after}: {}", names.join(" ")));
        }
        if !is_there && self.was_there && !self.stage.play.vanishes {
            self.wrong.push(format!("the output is gone after {after}"));
        }
        self.was_there = is_there;
        Ok(())
    }

    fn judge_endings(&mut self) -> io::Result<()> {
        self.look("the end")?;
        let mut succeeded = false;
        for (number, actor) in self.actors.iter().enumerate() {
            match actor.ended {
                _ if actor.killed => succeeded = true,
                Some(Ending::Code(0)) => succeeded = true,
                // It exists; another one writes it.
                Some(Ending::Code(2 | 4)) => {}
                other => {
                    let text = fs::read_to_string(self.stage.printed(number))?;
                    self.wrong
                        .push(format!("{} {number} ends with {other:?}: {text}", self.number));
                }
            }
        }
        if !succeeded && self.number == "actor" {
            let all = (0..self.actors.len()).map(|n| fs::read_to_string(self.stage.printed(n)));
            let all: String = all.collect::<io::Result<_>>()?;
            self.wrong.push(format!("none of them succeeds: {all}"));
        }
        Ok(())
    }
}

/// Whether a call may change which names there are.
fn changes(call: &Call) -> bool {
    matches!(call.kind(), Kind::Rename | Kind::Link | Kind::Make | Kind::Remove)
}

impl Stage {
    fn printed(&self, number: usize) -> PathBuf {
        self.root().join(format!("printed-{number}"))
    }

    /// Whether a call is on a name that other actors may use too. What lies deeper is private to
    /// the one who made it; but what is removed there may be somebody else's.
    fn is_shared(&self, call: &Call) -> bool {
        let depth = self.play.depth + usize::from(changes(call));
        call.paths.iter().any(|path| {
            path.strip_prefix(self.path()).is_ok_and(|path| path.components().count() <= depth)
        })
    }
}

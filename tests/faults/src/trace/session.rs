use super::arch;
use super::calls::{Kind, Syscall, find};
use super::names;
use super::sys::{self, Tid, unless_gone};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A process, by the number that the system gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process(pub(super) Tid);

/// A thread of a process, by the number that the system gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thread(pub(super) Tid);

/// An error number of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

/// A call that a thread is about to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which call it is.
    pub syscall: &'static Syscall,
    /// Who makes it.
    pub thread: Thread,
    /// The process of that thread.
    pub process: Process,
    /// The files that it names, absolute.
    pub paths: Vec<PathBuf>,
    /// Its arguments.
    pub args: [u64; 6],
}

/// The end of a call that was released with [`Action::Observe`].
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// Who made it.
    pub thread: Thread,
    /// What it returned.
    pub result: Result<u64, Errno>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A thread is held before a call; [`Session::release`] lets it go on.
    Call(Call),
    /// A thread is held after a call; [`Session::resume`] lets it go on.
    Return(Return),
    /// A process is gone.
    Exit(Process, Ending),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Make,
    /// It is made, and then the thread is held once more: [`Event::Return`].
    Observe,
    /// It is not made; the thread is told that it failed.
    Fail(Errno),
    /// It is made, and the thread is told that it failed: what `close` does.
    MakeAndFail(Errno),
    /// It is not made; the thread is told that there are no bytes left.
    End,
    /// It is made for half of its bytes, at least one.
    Shorten,
}

/// Processes whose calls on certain files are seen and decided upon.
///
/// A session belongs to the thread that began it, which is the one that traces. Several processes
/// may run in it, each with all of its threads. A thread that is held stays so while others are
/// released, so that whoever drives the session chooses the order of their calls.
///
/// The processes end with the session.
pub struct Session {
    roots: Vec<PathBuf>,
    /// The threads that were seen, with their processes.
    threads: HashMap<Tid, Tid>,
    /// The processes that were started here and are not gone.
    started: Vec<Tid>,
    /// What threads are to be told of the call that they are making.
    told: HashMap<Tid, Errno>,
    /// The kernel knows one thread as the tracer.
    _of_this_thread: PhantomData<*const ()>,
}

impl Session {
    /// A session that sees the calls on `roots`, absolute and without links, and on what is below.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Session {
            roots: roots.into_iter().collect(),
            threads: HashMap::new(),
            started: Vec::new(),
            told: HashMap::new(),
            _of_this_thread: PhantomData,
        }
    }

    /// Starts a process. The session waits for it: [`Child::wait`] would find nothing.
    ///
    /// # Errors
    /// If it cannot be started or traced.
    pub fn spawn(&mut self, command: &mut Command) -> io::Result<(Process, Child)> {
        sys::prepare(command);
        let child = command.spawn()?;
        let process = child.id() as Tid;
        let status = sys::wait_for(process)?;
        if !libc::WIFSTOPPED(status) {
            return Err(io::Error::other("the program ended before its first instruction"));
        }
        sys::set_options(process)?;
        self.threads.insert(process, process);
        self.started.push(process);
        sys::go_on(process, 0)?;
        Ok((Process(process), child))
    }

    /// Waits until something happens; `None` if all processes are gone.
    ///
    /// # Errors
    /// If the system refuses what a tracer may do.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        while let Some((thread, status)) = sys::wait()? {
            if !libc::WIFSTOPPED(status) {
                self.threads.remove(&thread);
                self.told.remove(&thread);
                if let Some(at) = self.started.iter().position(|&process| process == thread) {
                    self.started.remove(at);
                    return Ok(Some(Event::Exit(Process(thread), Ending::of(status))));
                }
                continue;
            }
            let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
            let is_new = !self.threads.contains_key(&thread);
            if is_new {
                self.threads.insert(thread, process_of(thread));
            }
            if event == libc::PTRACE_EVENT_SECCOMP {
                match self.call(thread) {
                    Ok(Some(call)) => return Ok(Some(Event::Call(call))),
                    Ok(None) => sys::go_on(thread, 0)?,
                    Err(error) => unless_gone::<()>(Err(error))?,
                }
            } else if signal == libc::SIGTRAP | 0x80 {
                match sys::result(thread) {
                    Ok(result) => {
                        if let Some(event) = self.returned(thread, result)? {
                            return Ok(Some(event));
                        }
                    }
                    Err(error) => unless_gone::<()>(Err(error))?,
                }
            } else {
                // A thread that is new begins with this stop, which is no signal to it.
                let is_signal = event == 0 && !(is_new && signal == libc::SIGSTOP);
                sys::go_on(thread, if is_signal { signal } else { 0 })?;
            }
        }
        Ok(None)
    }

    /// Decides upon the call that a thread is held before.
    ///
    /// # Errors
    /// If the system refuses what a tracer may do. That the thread is gone is none.
    pub fn release(&mut self, call: &Call, action: Action) -> io::Result<()> {
        let Thread(thread) = call.thread;
        let changed = match action {
            Action::Make => Ok(()),
            Action::Observe => return sys::go_on_to_return(thread),
            Action::MakeAndFail(errno) => {
                self.told.insert(thread, errno);
                return sys::go_on_to_return(thread);
            }
            Action::Fail(Errno(errno)) => arch::skip(thread, -i64::from(errno)),
            Action::End => arch::skip(thread, 0),
            Action::Shorten => call.syscall.length.map_or(Ok(()), |argument| {
                arch::set_argument(thread, argument, call.args[argument].div_ceil(2))
            }),
        };
        unless_gone(changed)?;
        sys::go_on(thread, 0)
    }

    /// Lets a thread go on that is held after a call.
    ///
    /// # Errors
    /// As [`release`](Self::release).
    pub fn resume(&mut self, returned: &Return) -> io::Result<()> {
        sys::go_on(returned.thread.0, 0)
    }

    /// Ends a process as `kill -9` does. The calls that its threads are held before are not made.
    ///
    /// # Errors
    /// If it may not be ended. That it is gone is none.
    pub fn kill(&mut self, process: Process) -> io::Result<()> {
        sys::kill(process.0)
    }

    fn call(&self, thread: Tid) -> io::Result<Option<Call>> {
        let (number, args) = sys::call(thread)?;
        let Some(syscall) = find(number) else { return Ok(None) };
        let paths = names::files(thread, syscall.names, &args);
        let is_watched = |path: &PathBuf| self.roots.iter().any(|root| path.starts_with(root));
        if !paths.iter().any(is_watched) {
            return Ok(None);
        }
        let process = Process(self.threads[&thread]);
        Ok(Some(Call { syscall, thread: Thread(thread), process, paths, args }))
    }

    fn returned(&mut self, thread: Tid, result: i64) -> io::Result<Option<Event>> {
        if let Some(Errno(errno)) = self.told.remove(&thread) {
            unless_gone(arch::set_result(thread, -i64::from(errno)))?;
            sys::go_on(thread, 0)?;
            return Ok(None);
        }
        let result = u64::try_from(result).map_err(|_| Errno(-result as i32));
        Ok(Some(Event::Return(Return { thread: Thread(thread), result })))
    }
}

impl Drop for Session {
    /// Leaves no process behind.
    fn drop(&mut self) {
        for &process in &self.started {
            // One that is gone is what is wanted.
            let _ = sys::kill(process);
        }
        while !self.started.is_empty() {
            match self.next_event() {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

impl Call {
    /// What it does.
    pub fn kind(&self) -> Kind {
        self.syscall.kind
    }

    /// Whether it may create a file that it opens.
    pub fn creates(&self) -> bool {
        let flags = match self.syscall.name {
            "openat" => self.args[2],
            "open" => self.args[1],
            name => return name == "creat",
        };
        flags as i32 & libc::O_CREAT != 0
    }

    /// Whether it is on a descriptor of a directory, for as long as the thread is held.
    pub fn is_on_directory(&self) -> bool {
        let Some(descriptor) = self.syscall.names.descriptor() else { return false };
        let place = names::of_descriptor(self.thread.0, self.args[descriptor]);
        fs::metadata(place).is_ok_and(|found| found.is_dir())
    }

    /// How many bytes it is to move, of a call that moves bytes.
    pub fn length(&self) -> Option<u64> {
        self.syscall.length.map(|argument| self.args[argument])
    }

    /// The file of a descriptor of the process, opened anew; for as long as the thread is held.
    ///
    /// # Errors
    /// If it is no file.
    pub fn open(&self, descriptor: u64) -> io::Result<File> {
        File::open(names::of_descriptor(self.thread.0, descriptor))
    }

    /// Where the cursor of a descriptor is, for as long as the thread is held.
    ///
    /// # Errors
    /// If there is no such descriptor.
    pub fn cursor(&self, descriptor: u64) -> io::Result<u64> {
        let info = format!("/proc/{}/fdinfo/{}", self.thread.0, descriptor as i32);
        let text = fs::read_to_string(info)?;
        let position = text.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok());
        position.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Process {
    /// Ends it as `kill -9` does, from any thread.
    pub fn kill(self) {
        // One that is gone is what is wanted.
        let _ = sys::kill(self.0);
    }

    /// Its number.
    pub fn id(self) -> u32 {
        self.0.unsigned_abs()
    }
}

impl Ending {
    fn of(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Ending::Code(libc::WEXITSTATUS(status))
        } else {
            Ending::Signal(libc::WTERMSIG(status))
        }
    }
}

/// The process of a thread; the thread itself if it is gone already.
fn process_of(thread: Tid) -> Tid {
    let text = fs::read_to_string(Path::new("/proc").join(thread.to_string()).join("status"));
    let text = text.unwrap_or_default();
    let id = text.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    id.unwrap_or(thread)
}

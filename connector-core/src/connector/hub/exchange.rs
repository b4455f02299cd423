//! One request, which can be given up at any time.
//!
//! A blocking call cannot be stopped, neither while a name is resolved nor in the middle of a body.
//! So each request has a thread, which hands over what it receives. Whoever waits for that can stop
//! to; the thread notices when it has something to hand over, or ends with its own timeouts.

use super::deadline::Deadline;
use super::failure::Failure;
use super::site::Site;
use crate::Cancel;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Request, response};

/// How often whoever waits looks whether it is to stop.
const POLL: Duration = Duration::from_millis(50);
/// The bytes of a body that are handed over at once, and how many such pieces may wait.
const PIECE: usize = 128 << 10;
const AHEAD: usize = 4;

/// A request under way.
pub(super) struct Exchange<'a> {
    pub site: Site,
    received: Receiver<Result<Received, ureq::Error>>,
    cancel: &'a Cancel,
}

/// What a thread hands over: the head first, then the body.
pub(super) enum Received {
    Head(response::Parts),
    Body(Vec<u8>),
}

impl<'a> Exchange<'a> {
    /// Makes a request to `site`.
    pub fn start(
        agent: &Agent,
        request: Request<()>,
        site: Site,
        cancel: &'a Cancel,
    ) -> io::Result<Self> {
        let (sender, received) = sync_channel(AHEAD);
        let agent = agent.clone();
        let thread = thread::Builder::new().name("hub".into());
        thread.spawn(move || run(&agent, request, &sender))?;
        Ok(Exchange { site, received, cancel })
    }

    /// What comes next; none at the end.
    pub fn next(&self, deadline: Deadline) -> Result<Option<Received>, Failure> {
        let host = || self.site.to_string();
        loop {
            self.cancel.check()?;
            let left = deadline.left();
            match self.received.recv_timeout(left.min(POLL)) {
                Ok(Ok(received)) => return Ok(Some(received)),
                Ok(Err(ureq::Error::Protocol(error))) => {
                    let answer = format!("something that is not HTTP ({error})");
                    return Err(Failure::Lie { host: host(), answer });
                }
                Ok(Err(ureq::Error::Timeout(_))) => {}
                Ok(Err(error)) => {
                    return Err(Failure::Connection { host: host(), reason: reason(&error) });
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => continue,
                Err(RecvTimeoutError::Timeout) => {}
            }
            return Err(Failure::Late { host: host(), limit: deadline.limit });
        }
    }
}

/// Makes a request and hands over the answer, until nobody wants more of it.
fn run(agent: &Agent, request: Request<()>, sender: &SyncSender<Result<Received, ureq::Error>>) {
    let failed = |error| drop(sender.send(Err(error)));
    let (head, body) = match agent.run(request) {
        Ok(response) => response.into_parts(),
        Err(error) => return failed(error),
    };
    if sender.send(Ok(Received::Head(head))).is_err() {
        return;
    }
    let mut body = body.into_reader();
    loop {
        let mut bytes = vec![0; PIECE];
        match body.read(&mut bytes) {
            Ok(0) => return,
            Ok(len) => bytes.truncate(len),
            Err(error) => return failed(ureq::Error::from(error)),
        }
        if sender.send(Ok(Received::Body(bytes))).is_err() {
            return;
        }
    }
}

/// What happened to a connection. Some errors have an address, which may be signed.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => "the address is wrong".into(),
        error => error.to_string(),
    }
}

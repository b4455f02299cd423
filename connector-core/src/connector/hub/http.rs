//! Requests that end, and a token that stays with its server.
//!
//! A blocking call cannot be stopped, neither while a name is resolved nor in the middle of a body.
//! So each request has a thread, which hands over what it receives; whoever waits for that can give
//! up at any time, and the thread ends with its own timeouts. Redirects are followed one by one, so
//! that each request is made with or without the token as the server that it goes to deserves.

use super::failure::Failure;
use super::retry::retry_after;
use super::site::{Site, follow};
use super::{Hub, Token};
use crate::{Cancel, Error};
use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, LOCATION, RANGE};
use ureq::http::{HeaderMap, HeaderValue, Method, Request, Uri, response};

/// How many redirects are followed, as many as Hugging Face's library does.
const REDIRECTS: usize = 10;
/// How often whoever waits looks whether it is to stop.
const POLL: Duration = Duration::from_millis(50);
/// The bytes of a body that are handed over at once, and how many such pieces may wait.
const PIECE: usize = 128 << 10;
const AHEAD: usize = 4;

/// Who asks the hub.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    cancel: &'a Cancel,
    agent: Agent,
    /// The only server that the token is for.
    home: Site,
    token: Option<HeaderValue>,
}

/// What a thread hands over: the head first, then the body.
enum Received {
    Head(response::Parts),
    Body(Vec<u8>),
}

/// An answer, of which the head is there.
pub(super) struct Answer<'a> {
    pub site: Site,
    pub status: u16,
    headers: HeaderMap,
    body: Receiver<Result<Received, ureq::Error>>,
    cancel: &'a Cancel,
    /// How long it may stand still.
    stall: Duration,
    has_begun: bool,
}

impl<'a> Client<'a> {
    pub fn new(hub: &'a Hub, cancel: &'a Cancel) -> Result<Self, Failure> {
        let wrong = |name: &str, reason: &str| Failure::Connection {
            host: name.into(),
            reason: reason.into(),
        };
        let home = hub.endpoint.parse().ok().as_ref().and_then(Site::of);
        let home = home.ok_or_else(|| {
            wrong("HF_ENDPOINT", "it is no address such as https://huggingface.co")
        })?;
        let bearer = |token: &Token| HeaderValue::from_str(&format!("Bearer {}", token.0));
        let token = hub.token.as_ref().map(bearer).transpose();
        let token = token.map_err(|_| wrong("HF_TOKEN", "it has characters that no token has"))?;
        let config = Agent::config_builder()
            .user_agent(concat!("connector/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(hub.patience))
            .timeout_send_request(Some(hub.patience))
            .timeout_recv_response(Some(hub.patience))
            .timeout_per_read(Some(hub.patience.max(hub.stall)));
        let agent = config.build().new_agent();
        Ok(Client { hub, cancel, agent, home, token })
    }

    /// Asks for the file or list at `path`, from byte `from` on, and follows redirects.
    pub fn get(&self, path: &str, from: u64) -> Result<Answer<'a>, Failure> {
        self.ask(Method::GET, path, from, |_| false)
    }

    /// Asks for the head only. Of redirects, the first one that `says_enough` is the answer.
    pub fn head(
        &self,
        path: &str,
        says_enough: impl Fn(&Answer) -> bool,
    ) -> Result<Answer<'a>, Failure> {
        self.ask(Method::HEAD, path, 0, says_enough)
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        from: u64,
        says_enough: impl Fn(&Answer) -> bool,
    ) -> Result<Answer<'a>, Failure> {
        let deadline = Deadline::after(self.hub.patience);
        let address = format!("{}{path}", self.hub.endpoint);
        let mut address: Uri = address.parse().map_err(|_| Failure::Lie {
            host: self.home.to_string(),
            answer: "a name that no address can have".into(),
        })?;
        for _ in 0..=REDIRECTS {
            let answer = self.exchange(&method, &address, from, deadline)?;
            match answer.status {
                200..=299 => return Ok(answer),
                301 | 302 | 303 | 307 | 308 if says_enough(&answer) => return Ok(answer),
                301 | 302 | 303 | 307 | 308 => {
                    let location = answer.header(LOCATION.as_str()).unwrap_or_default();
                    address = follow(&address, location).map_err(|what| answer.lie(what))?;
                }
                status => {
                    return Err(Failure::Status {
                        host: answer.site.to_string(),
                        status,
                        is_hub: answer.site == self.home,
                        retry_after: retry_after(&answer.headers, SystemTime::now()),
                    });
                }
            }
        }
        let host = Site::of(&address).unwrap_or_else(|| self.home.clone()).to_string();
        Err(Failure::Lie { host, answer: format!("more than {REDIRECTS} redirects") })
    }

    /// One request, and the head of its answer.
    fn exchange(
        &self,
        method: &Method,
        address: &Uri,
        from: u64,
        deadline: Deadline,
    ) -> Result<Answer<'a>, Failure> {
        let site = Site::of(address).unwrap_or_else(|| self.home.clone());
        let host = site.to_string();
        let mut request = Request::builder().method(method).uri(address);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| site == self.home) {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(()).map_err(|_| Failure::Lie {
            host: host.clone(),
            answer: "a redirect to no address".into(),
        })?;
        let (received, body) = sync_channel(AHEAD);
        let agent = self.agent.clone();
        let thread = thread::Builder::new().name("hub".into());
        thread
            .spawn(move || receive(&agent, request, &received))
            .map_err(Error::io("start a thread for", &self.hub.endpoint))?;
        let mut answer = Answer {
            site,
            status: 0,
            headers: HeaderMap::new(),
            body,
            cancel: self.cancel,
            stall: self.hub.stall,
            has_begun: false,
        };
        match answer.next(deadline)? {
            Some(Received::Head(head)) => {
                (answer.status, answer.headers) = (head.status.as_u16(), head.headers);
                Ok(answer)
            }
            _ => Err(Failure::Connection { host, reason: "no answer".into() }),
        }
    }
}

impl Answer<'_> {
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// A header; none if it is empty, or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let text = self.headers.get(name)?.to_str().ok()?.trim();
        Some(text).filter(|text| !text.is_empty())
    }

    /// The next bytes of the body; none at its end.
    pub fn piece(&mut self, deadline: Deadline) -> Result<Option<Vec<u8>>, Failure> {
        let stall = Deadline::after(self.stall);
        let is_nearer = stall.end < deadline.end;
        match self.next(if is_nearer { stall } else { deadline }) {
            Ok(Some(Received::Body(bytes))) => {
                self.has_begun = true;
                Ok(Some(bytes))
            }
            Ok(_) => Ok(None),
            Err(Failure::Late { host, limit }) if is_nearer && self.has_begun => {
                Err(Failure::Stalled { host, limit })
            }
            Err(failure) => Err(failure),
        }
    }

    /// The whole body, which has no more than `limit` bytes.
    pub fn whole(&mut self, limit: usize, deadline: Deadline) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(deadline)? {
            bytes.extend(piece);
            if bytes.len() > limit {
                return Err(self.lie(format!("more than {limit} bytes")));
            }
        }
        Ok(bytes)
    }

    pub fn lie(&self, answer: impl Into<String>) -> Failure {
        Failure::Lie { host: self.site.to_string(), answer: answer.into() }
    }

    /// What the thread hands over next; none at the end.
    fn next(&self, deadline: Deadline) -> Result<Option<Received>, Failure> {
        let host = || self.site.to_string();
        loop {
            self.cancel.check()?;
            let left = deadline.end.saturating_duration_since(Instant::now());
            match self.body.recv_timeout(left.min(POLL)) {
                Ok(Ok(received)) => return Ok(Some(received)),
                Ok(Err(ureq::Error::Timeout(_))) => {}
                Ok(Err(ureq::Error::Protocol(error))) => {
                    return Err(self.lie(format!("what is no HTTP ({error})")));
                }
                Ok(Err(error)) => {
                    let reason = reason(&error);
                    return Err(Failure::Connection { host: host(), reason });
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => continue,
                Err(RecvTimeoutError::Timeout) => {}
            }
            return Err(Failure::Late { host: host(), limit: deadline.limit });
        }
    }
}

/// The moment until which something may take, and the time from then.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    end: Instant,
    limit: Duration,
}

impl Deadline {
    pub fn after(limit: Duration) -> Self {
        // What overflows is never.
        let now = Instant::now();
        let end = now.checked_add(limit).unwrap_or(now + Duration::from_secs(1 << 30));
        Deadline { end, limit }
    }
}

/// Makes a request and hands over the answer, until nobody wants more of it.
fn receive(
    agent: &Agent,
    request: Request<()>,
    received: &SyncSender<Result<Received, ureq::Error>>,
) {
    let failed = |error| drop(received.send(Err(error)));
    let (head, body) = match agent.run(request) {
        Ok(response) => response.into_parts(),
        Err(error) => return failed(error),
    };
    if received.send(Ok(Received::Head(head))).is_err() {
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
        if received.send(Ok(Received::Body(bytes))).is_err() {
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

//! Requests to the hub, redirects, and a token that stays with its server.
//!
//! Redirects are followed one by one, so that each request is made with the token or without it, as
//! the server that it goes to deserves.

use super::deadline::Deadline;
use super::exchange::{Exchange, Received};
use super::failure::Failure;
use super::retry::retry_after;
use super::site::{Site, follow};
use super::{Hub, Token};
use crate::Cancel;
use crate::store;
use std::time::{Duration, SystemTime};
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, LOCATION, RANGE};
use ureq::http::{HeaderMap, HeaderValue, Method, Request, Uri};

/// How many redirects are followed, as many as Hugging Face's library does.
const REDIRECTS: usize = 10;

/// Who asks the hub.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    cancel: &'a Cancel,
    agent: Agent,
    /// The only server that the token is for.
    home: Site,
    token: Option<HeaderValue>,
}

/// An answer, of which the head is there.
pub(super) struct Answer<'a> {
    pub status: u16,
    headers: HeaderMap,
    exchange: Exchange<'a>,
    /// How long the body may stand still.
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
        let patience = Some(Deadline::after(hub.patience).limit);
        let longest = Deadline::after(hub.patience.max(hub.stall)).limit;
        let config = Agent::config_builder()
            .user_agent(concat!("connector/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(patience)
            .timeout_send_request(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(Some(longest));
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
        let mut host = self.home.to_string();
        let lie =
            |host: &str, answer: &str| Failure::Lie { host: host.into(), answer: answer.into() };
        let address = format!("{}{path}", self.hub.endpoint);
        let mut address: Uri =
            address.parse().map_err(|_| lie(&host, "a name that no address can have"))?;
        for _ in 0..=REDIRECTS {
            let site = Site::of(&address).ok_or_else(|| lie(&host, "no web address"))?;
            host = site.to_string();
            let answer = self.exchange(&method, &address, site, from, deadline)?;
            match answer.status {
                200..=299 => return Ok(answer),
                301 | 302 | 303 | 307 | 308 if says_enough(&answer) => return Ok(answer),
                301 | 302 | 303 | 307 | 308 => {
                    let location = answer.header(LOCATION.as_str()).unwrap_or_default();
                    address = follow(&address, location).map_err(|what| answer.lie(what))?;
                }
                status => {
                    let is_hub = *answer.site() == self.home;
                    let retry_after = retry_after(&answer.headers, SystemTime::now());
                    return Err(Failure::Status { host, status, is_hub, retry_after });
                }
            }
        }
        Err(lie(&host, &format!("more than {REDIRECTS} redirects")))
    }

    /// One request, and the head of its answer.
    fn exchange(
        &self,
        method: &Method,
        address: &Uri,
        site: Site,
        from: u64,
        deadline: Deadline,
    ) -> Result<Answer<'a>, Failure> {
        let host = site.to_string();
        let failed = |reason: &str| Failure::Connection { host, reason: reason.into() };
        let mut request = Request::builder().method(method).uri(address);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| site == self.home) {
            request = request.header(AUTHORIZATION, token);
        }
        let Ok(request) = request.body(()) else { return Err(failed("the address is wrong")) };
        let exchange = Exchange::start(&self.agent, request, site, self.cancel);
        let exchange =
            exchange.map_err(store::Error::io("start a thread for", &self.hub.endpoint))?;
        let Some(Received::Head(head)) = exchange.next(deadline)? else {
            return Err(failed("no answer"));
        };
        let (status, headers, stall) = (head.status.as_u16(), head.headers, self.hub.stall);
        Ok(Answer { status, headers, exchange, stall, has_begun: false })
    }
}

impl Answer<'_> {
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The server that it is from.
    pub fn site(&self) -> &Site {
        &self.exchange.site
    }

    /// A header; none if it is empty, or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let text = self.headers.get(name)?.to_str().ok()?.trim();
        Some(text).filter(|text| !text.is_empty())
    }

    /// The next bytes of the body; none at its end.
    pub fn piece(&mut self, deadline: Deadline) -> Result<Option<Vec<u8>>, Failure> {
        let stall = Deadline::after(self.stall);
        let is_nearer = stall.is_before(&deadline);
        match self.exchange.next(if is_nearer { stall } else { deadline }) {
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

    /// That the server says what no hub says.
    pub fn lie(&self, answer: impl Into<String>) -> Failure {
        Failure::Lie { host: self.site().to_string(), answer: answer.into() }
    }
}

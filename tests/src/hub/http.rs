//! As much of HTTP as the server speaks, and breaks.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// How long a server that drips takes for a byte.
const DRIP: Duration = Duration::from_millis(20);

/// A request: the path, and the headers that matter.
pub struct Request {
    pub is_head: bool,
    pub path: String,
    pub token: Option<String>,
    pub from: usize,
    /// All of it, as it came.
    pub text: String,
}

impl Request {
    pub fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut text = lines.next()?;
        let mut words = text.split(' ');
        let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
        let (mut token, mut from) = (None, 0);
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ")?;
            match name.to_ascii_lowercase().as_str() {
                "authorization" => token = value.strip_prefix("Bearer ").map(Into::into),
                "range" => from = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?,
                _ => {}
            }
            text = format!("{text}\n{line}");
        }
        Some(Request { is_head: method == "HEAD", path, token, from, text })
    }
}

/// An answer.
pub struct Answer {
    pub status: &'static str,
    pub headers: String,
    /// What `Content-Length` says. Without it, the body comes in chunks.
    pub len: Option<String>,
    pub body: Vec<u8>,
    pub flow: Flow,
}

/// How a body comes.
#[derive(Clone, Copy, PartialEq)]
pub enum Flow {
    Whole,
    /// Byte by byte.
    Drips,
    /// Then nothing, and no end.
    Stalls,
    /// Again and again.
    Endless,
}

impl Answer {
    /// An answer with a body.
    pub fn new(status: &'static str, headers: String, body: Vec<u8>) -> Self {
        Answer { status, headers, len: Some(body.len().to_string()), body, flow: Flow::Whole }
    }

    /// An answer without one.
    pub fn empty(status: &'static str) -> Self {
        Answer::new(status, String::new(), Vec::new())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// Sends it, as far as the other side takes it.
    pub fn send(self, mut stream: TcpStream, is_head: bool) -> Result<()> {
        let len = match &self.len {
            Some(len) => format!("Content-Length: {len}\r\n"),
            None => "Transfer-Encoding: chunked\r\n".into(),
        };
        let (status, headers) = (self.status, &self.headers);
        write!(stream, "HTTP/1.1 {status}\r\n{headers}{len}Connection: close\r\n\r\n")?;
        if is_head {
            return Ok(());
        }
        let mut piece = |bytes: &[u8]| {
            if self.len.is_some() {
                return stream.write_all(bytes);
            }
            write!(stream, "{:x}\r\n", bytes.len())?;
            stream.write_all(bytes)?;
            stream.write_all(b"\r\n")
        };
        match self.flow {
            Flow::Whole | Flow::Stalls => piece(&self.body)?,
            Flow::Endless => loop {
                piece(&self.body)?;
            },
            Flow::Drips => {
                for byte in &self.body {
                    piece(&[*byte])?;
                    thread::sleep(DRIP);
                }
            }
        }
        if self.flow == Flow::Stalls {
            return wait(stream);
        }
        if self.len.is_none() { stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }
}

/// Until the other side has enough of it.
pub fn wait(mut stream: TcpStream) -> Result<()> {
    std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
}

//! Where addresses lead: the server that one names, and what a redirect means.
//!
//! What a token is for is a server, not a name: scheme, host and port are all compared.

use std::fmt;
use ureq::http::Uri;

/// A server, as far as a token is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    is_https: bool,
    host: String,
    port: u16,
}

impl Site {
    /// The server of an address; none if it is not reached by HTTP.
    pub fn of(address: &Uri) -> Option<Self> {
        let is_https = match address.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = address.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        let port = address.port_u16().unwrap_or(default_port(is_https));
        Some(Site { is_https, host, port })
    }
}

fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.port == default_port(self.is_https) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// The address that a redirect `location` means, found at the address `from`; or what is wrong with
/// it. The location itself is not part of that: it may be signed.
pub(super) fn follow(from: &Uri, location: &str) -> Result<Uri, &'static str> {
    let unclear = "a redirect to no address";
    let (Some(scheme), Some(authority)) = (from.scheme_str(), from.authority()) else {
        return Err(unclear);
    };
    let location = location.split('#').next().unwrap_or_default();
    if location.is_empty() {
        return Err(unclear);
    }
    let text = if has_scheme(location) {
        location.to_string()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let address: Uri = text.parse().map_err(|_| unclear)?;
    let site = Site::of(&address).ok_or("a redirect to no web address")?;
    if scheme == "https" && !site.is_https {
        return Err("a redirect from https to http");
    }
    Ok(address)
}

/// Whether a location says how it is reached, and so is whole.
fn has_scheme(location: &str) -> bool {
    let scheme = location.split([':', '/', '?']).next().unwrap_or_default();
    location[scheme.len()..].starts_with(':')
}

/// A text as part of an address; slashes stay.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(address: &str) -> Option<Site> {
        Site::of(&address.parse().ok()?)
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let hub = site("https://huggingface.co").unwrap();
        for (address, same) in [
            ("https://huggingface.co/a?b", true),
            ("https://HuggingFace.co:443/", true),
            ("https://user@huggingface.co/", true),
            ("http://huggingface.co/", false),
            ("https://huggingface.co:8443/", false),
            ("https://huggingface.co@evil.example/", false),
            ("https://huggingface.co.evil.example/", false),
            ("https://cdn.huggingface.co/", false),
        ] {
            assert_eq!(site(address).unwrap() == hub, same, "{address}");
        }
        for address in ["/a", "ftp://huggingface.co/", "huggingface.co:443"] {
            assert_eq!(site(address), None, "{address}");
        }
        assert_eq!(site("http://127.0.0.1:80/").unwrap().to_string(), "127.0.0.1");
        assert_eq!(site("http://[::1]:8080/").unwrap().to_string(), "[::1]:8080");
    }

    #[test]
    fn a_redirect_is_relative_to_where_it_was_found() {
        let from: Uri = "https://hub.example:8443/a/b?c=d".parse().unwrap();
        for (location, want) in [
            ("https://cdn.example/x?y=z#w", "https://cdn.example/x?y=z"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/x?y=a:b", "https://hub.example:8443/x?y=a:b"),
            ("x/y", "https://hub.example:8443/a/x/y"),
        ] {
            assert_eq!(follow(&from, location).unwrap().to_string(), want, "{location}");
        }
        for (location, want) in [
            ("http://hub.example:8443/x", "https to http"),
            ("file:///etc/passwd", "no address"),
            ("ftp://hub.example/x", "no web address"),
            ("https://", "no address"),
            ("#x", "no address"),
            ("https://a b/", "no address"),
        ] {
            let problem = follow(&from, location).unwrap_err();
            assert!(problem.contains(want), "{location}: {problem}");
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("a/b-1.x_y~"), "a/b-1.x_y~");
        assert_eq!(encoded("a b?#%é"), "a%20b%3F%23%25%C3%A9");
    }
}

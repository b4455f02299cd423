//! Which requests are made again, and after which pause.

use super::Hub;
use super::deadline::Deadline;
use super::failure::Failure;
use crate::{Cancel, Error};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::http::HeaderMap;

/// How often something is tried. A file goes on where it stopped.
const TRIES: u32 = 5;
/// The pause before the second try, which doubles with each.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a pause looks whether it is to end.
const POLL: Duration = Duration::from_millis(50);

/// Tries until it succeeds, or fails in a way that does not pass.
pub(super) fn again<T>(
    hub: &Hub,
    cancel: &Cancel,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    for number in 1..TRIES {
        match attempt() {
            Err(failure) if failure.passes() => {
                tracing::debug!(%failure, number, "trying again");
                let asked = match failure {
                    Failure::Status { retry_after, .. } => retry_after.unwrap_or_default(),
                    _ => Duration::ZERO,
                };
                let pause = asked.max(PAUSE * 2_u32.pow(number - 1));
                sleep(pause.min(hub.longest_pause), cancel)?;
            }
            done => return done,
        }
    }
    attempt()
}

fn sleep(pause: Duration, cancel: &Cancel) -> Result<(), Error> {
    let end = Deadline::after(pause);
    while !end.left().is_zero() {
        cancel.check()?;
        thread::sleep(end.left().min(POLL));
    }
    Ok(cancel.check()?)
}

/// What `Retry-After` says: seconds, or the time of day.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(date(text)?).saturating_sub(now))
}

/// The seconds since 1970 of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.strip_suffix(" GMT")?.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next().filter(|name| name.len() == 3)?;
    let month = MONTHS.find(month).filter(|at| at % 3 == 0)? as u64 / 3;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // Years that begin with March have their leap day last.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // The days from the first of March of year 0 to 1970.
    Some((days - 719_468) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        for (text, want) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Sun, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 0000 08:49:37 GMT", None),
            ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 25:00:00 GMT", None),
            ("soon", None),
        ] {
            assert_eq!(date(text), want, "{text}");
        }
    }

    #[test]
    fn a_server_says_when_to_come_again() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (text, want) in [
            ("3", Some(3)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers =
                HeaderMap::from_iter([(ureq::http::header::RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), want.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}

//! Named points at which a test makes this process fail, die or wait.
//!
//! With the feature `failpoints`, the variable `CONNECTOR_FAILPOINTS` of the environment says what
//! happens where: `staging.created=error;engine.chunk=sleep:20@3;publish.renamed=abort`. The
//! actions are `error`, `abort`, `panic` and `sleep:MILLISECONDS`; `@3` means on the third passage
//! only. Without the feature a point is nothing at all.
// Not the crate `fail`: its last release is of 2022, and it cannot abort, which is the case that
// matters here.

#[cfg(feature = "failpoints")]
pub(crate) use active::failpoint;

/// Passes the point `name`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn failpoint(_name: &'static str) -> crate::store::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
mod active {
    use crate::store::{Error, Result};
    use std::str::FromStr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use std::{env, io, process, thread};

    const VARIABLE: &str = "CONNECTOR_FAILPOINTS";

    /// Passes the point `name`, or does there what the environment says.
    pub(crate) fn failpoint(name: &'static str) -> Result<()> {
        static POINTS: OnceLock<Result<Vec<Point>, String>> = OnceLock::new();
        let points = POINTS.get_or_init(|| {
            let spec = env::var_os(VARIABLE).unwrap_or_default();
            parse(&spec.to_string_lossy())
        });
        match points {
            Ok(points) => pass(points, name),
            // A test with a misspelt action must not pass because nothing happened.
            Err(message) => Err(failed(name, io::Error::other(format!("{VARIABLE}: {message}")))),
        }
    }

    #[derive(Debug)]
    struct Point {
        name: String,
        action: Action,
        /// The only passage that acts, counted from 1; `None`: every one does.
        only: Option<usize>,
        passages: AtomicUsize,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Action {
        Error,
        Abort,
        Panic,
        Sleep(Duration),
    }

    fn pass(points: &[Point], name: &'static str) -> Result<()> {
        for point in points.iter().filter(|point| point.name == name) {
            let passage = point.passages.fetch_add(1, Ordering::Relaxed) + 1;
            if point.only.is_some_and(|only| only != passage) {
                continue;
            }
            match point.action {
                Action::Error => {
                    let asked = io::Error::other(format!("asked for by {VARIABLE}"));
                    return Err(failed(name, asked));
                }
                Action::Abort => process::abort(),
                Action::Panic => panic!("failpoint {name}: asked for by {VARIABLE}"),
                Action::Sleep(time) => thread::sleep(time),
            }
        }
        Ok(())
    }

    fn failed(name: &'static str, source: io::Error) -> Error {
        Error::io("pass failpoint", name)(source)
    }

    fn parse(spec: &str) -> Result<Vec<Point>, String> {
        spec.split(';').filter(|part| !part.is_empty()).map(str::parse).collect()
    }

    impl FromStr for Point {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            let malformed = || format!("`{text}` is not NAME=error|abort|panic|sleep:MS[@N]");
            let (name, what) = text.split_once('=').ok_or_else(malformed)?;
            let (action, only) = match what.split_once('@') {
                Some((action, only)) => (action, Some(only.parse().map_err(|_| malformed())?)),
                None => (what, None),
            };
            let action = match action.split_once(':') {
                None if action == "error" => Action::Error,
                None if action == "abort" => Action::Abort,
                None if action == "panic" => Action::Panic,
                Some(("sleep", ms)) => {
                    Action::Sleep(Duration::from_millis(ms.parse().map_err(|_| malformed())?))
                }
                _ => return Err(malformed()),
            };
            Ok(Point { name: name.into(), action, only, passages: AtomicUsize::new(0) })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_action_is_read() {
            let points = parse("a.b=error;c=abort;d=panic@2;e=sleep:20@3;").unwrap();
            let read: Vec<_> =
                points.iter().map(|point| (&*point.name, point.action, point.only)).collect();
            let expected = [
                ("a.b", Action::Error, None),
                ("c", Action::Abort, None),
                ("d", Action::Panic, Some(2)),
                ("e", Action::Sleep(Duration::from_millis(20)), Some(3)),
            ];
            assert_eq!(read, expected);
        }

        #[test]
        fn malformed_specs_are_reported() {
            for spec in ["a", "a=", "a=eror", "a=sleep", "a=sleep:x", "a=error@", "a=error:1"] {
                assert!(parse(spec).unwrap_err().contains(spec), "{spec}");
            }
        }

        #[test]
        fn a_count_picks_one_passage_and_the_error_names_the_point() {
            let points = parse("x=error@2").unwrap();
            assert!(pass(&points, "x").is_ok());
            assert!(pass(&points, "y").is_ok());
            let message = pass(&points, "x").unwrap_err().to_string();
            assert_eq!(message, "cannot pass failpoint x: asked for by CONNECTOR_FAILPOINTS");
            assert!(pass(&points, "x").is_ok());
        }

        #[test]
        #[should_panic(expected = "failpoint x")]
        fn panic_panics() {
            let _ = pass(&parse("x=panic").unwrap(), "x");
        }
    }
}

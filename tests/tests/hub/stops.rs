//! No server keeps us: time is bounded, and a request to stop is heeded at once.

use crate::case::{Case, assert_same};
use connector_core::connector::hub::{HubProgress, Origin};
use connector_core::{Cancel, Error};
use connector_tests::{Child, Content, Ended, Faults, List, MODEL, fixture};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(300);
/// Far more than anything here takes that ends when it should.
const LONG: Duration = Duration::from_secs(60);

type Fault = fn(&mut Faults);

#[test]
fn a_server_that_does_not_go_on_is_given_up() {
    let faults: [(Fault, &str); 4] = [
        (|faults| faults.silent = true, "the list of files"),
        (|faults| faults.list = Some(List::Drips), "the list of files"),
        (|faults| faults.content = Some(Content::Silent), "config.json"),
        (|faults| faults.content = Some(Content::Drips), "config.json"),
    ];
    for (fault, what) in faults {
        let mut case = Case::new();
        // Of the two the one that is meant is short.
        let is_list = what == "the list of files";
        (case.hub.patience, case.hub.stall) = (SHORT, if is_list { LONG } else { SHORT });
        case.server.faults(fault);
        let start = Instant::now();
        let message = case.fails("").0.to_string();
        let want = format!("{what} could not be downloaded: 127.0.0.1:");
        assert!(message.contains(&want) && message.contains(" 300ms"), "{message}");
        // It is not asked again: others wait for the model.
        assert!(start.elapsed() < SHORT * 10, "{:?}", start.elapsed());
        case.assert_sound();
    }
}

#[test]
fn a_file_that_stands_still_goes_on_with_another_connection() {
    let mut case = Case::new();
    case.hub.stall = SHORT;
    case.server.faults(|faults| faults.stalls = 2);
    assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
    let (_, elsewhere) = case.server.requests();
    let resumed = elsewhere.iter().filter(|request| request.contains("bytes=")).count();
    assert_eq!((elsewhere.len(), resumed), (3, 2), "{elsewhere:?}");
}

#[test]
fn a_server_that_says_when_to_come_again_is_heeded_within_limits() {
    let pause = Duration::from_millis(200);
    for (retry_after, longest, want) in [
        ("1", pause, pause * 2),
        ("Fri, 31 Dec 9999 23:59:59 GMT", pause, pause * 2),
        ("99999999999999999999", Duration::ZERO, Duration::ZERO),
        ("100000", Duration::ZERO, Duration::ZERO),
    ] {
        let mut case = Case::new();
        case.hub.longest_pause = longest;
        case.server.faults(|faults| {
            (faults.unavailable, faults.retry_after) = (2, Some(retry_after.into()));
        });
        let start = Instant::now();
        case.fetch("").unwrap();
        assert!(start.elapsed() >= want, "{retry_after}: {:?}", start.elapsed());
    }
    let case = Case::new();
    case.server.faults(|faults| {
        (faults.unavailable, faults.retry_after) = (9, Some("100000".into()));
    });
    let message = case.fails("").0.to_string();
    assert!(message.contains("answers with status 429"), "{message}");
}

#[test]
fn a_request_to_stop_is_heeded_within_a_file() {
    /// Asks to stop as soon as something has arrived.
    struct Stop(Cancel);
    impl HubProgress for Stop {
        fn advance(&self, _: u64) {
            self.0.cancel();
        }
    }
    let mut case = Case::new();
    (case.hub.patience, case.hub.stall) = (LONG, LONG);
    case.fetch("").unwrap();
    let blobs = case.hub.cache.join("models--org--tiny/blobs");
    let large = fs::read_dir(&blobs).unwrap().map(|blob| blob.unwrap().path());
    fs::remove_file(large.max_by_key(|blob| fs::metadata(blob).unwrap().len()).unwrap()).unwrap();
    case.server.faults(|faults| faults.stalls = 1);
    case.server.requests();

    let (start, stop) = (Instant::now(), Stop(Cancel::default()));
    let origin = Origin::new(format!("hf://{MODEL}")).unwrap();
    let stopped = origin.fetch(&case.hub, &stop, &stop.0).unwrap_err();
    assert!(matches!(stopped, Error::Cancelled), "{stopped}");
    assert!(start.elapsed() < LONG / 6, "{:?}", start.elapsed());
    case.server.faults(|_| {});
    case.assert_sound();
    // What arrived is not asked for again.
    let (_, elsewhere) = case.server.requests();
    assert!(elsewhere.last().unwrap().contains("bytes="), "{elsewhere:?}");
}

#[test]
fn a_request_to_stop_is_heeded_while_nothing_comes() {
    let faults: [Fault; 3] = [
        |faults| faults.silent = true,
        |faults| faults.content = Some(Content::Silent),
        |faults| (faults.unavailable, faults.retry_after) = (9, Some("100000".into())),
    ];
    for fault in faults {
        let mut case = Case::new();
        (case.hub.patience, case.hub.stall, case.hub.longest_pause) = (LONG, LONG, LONG);
        case.server.faults(fault);
        let cancel = Cancel::default();
        let origin = Origin::new(format!("hf://{MODEL}")).unwrap();
        let start = Instant::now();
        let stopped = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(SHORT);
                cancel.cancel();
            });
            origin.fetch(&case.hub, &(), &cancel).unwrap_err()
        });
        assert!(matches!(stopped, Error::Cancelled), "{stopped}");
        assert!(start.elapsed() < LONG / 6, "{:?}", start.elapsed());
        case.assert_sound();
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_program_and_keeps_what_arrived() {
    use std::process::Command;
    let case = Case::new();
    case.server.faults(|faults| faults.stalls = 1);
    let program = env!("CARGO_BIN_EXE_connector-under-test");
    let child = Child::new(program, &["plan", "hf://org/tiny"])
        .env("HF_ENDPOINT", &case.hub.endpoint)
        .env("HF_HUB_CACHE", &case.hub.cache)
        .env("HF_HUB_DOWNLOAD_TIMEOUT", "60")
        .start();
    let is_part = |name: &String| name.ends_with(".part") && name.contains("/.locks/");
    while !case.server.requests().1.iter().any(|request| request.contains("/content/")) {
        thread::sleep(Duration::from_millis(10));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let start = Instant::now();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert!(start.elapsed() < LONG / 6, "{:?}", start.elapsed());
    assert_eq!(ended.code, Some(130), "{}", ended.text);
    assert!(ended.text.contains("what has arrived is kept"), "{}", ended.text);
    let names = case.names();
    assert!(names.iter().any(is_part), "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with("connector-lock")), "{names:?}");
}

//! The token is for the hub's own server.

use crate::case::{Case, assert_same};
use connector_core::connector::hub::{HubErrorKind, Token};
use connector_tests::{Child, Redirect, fixture};

const SECRET: &str = "hf_s3cret";

/// A hub that wants a token, and who has it.
fn case() -> Case {
    let mut case = Case::new();
    case.hub.token = Some(Token(SECRET.into()));
    case.server.faults(|faults| faults.token = Some(SECRET.into()));
    case
}

#[track_caller]
fn assert_none_has_it(requests: &[String]) {
    assert!(!requests.is_empty(), "the other server was not asked");
    for request in requests {
        let request = request.to_ascii_lowercase();
        assert!(!request.contains("authorization") && !request.contains(SECRET), "{request}");
    }
}

#[test]
fn the_server_where_large_files_lie_does_not_get_it() {
    let case = case();
    assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
    let (hub, elsewhere) = case.server.requests();
    assert!(hub.iter().all(|request| request.contains(SECRET)), "{hub:?}");
    assert_none_has_it(&elsewhere);
    assert!(elsewhere.iter().all(|request| request.contains("/content/")));
}

#[test]
fn a_model_that_was_renamed_gets_it() {
    let case = case();
    case.server.faults(|faults| {
        (faults.token, faults.redirect) = (Some(SECRET.into()), Some(Redirect::Moved));
    });
    assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
    let (hub, elsewhere) = case.server.requests();
    assert!(hub.iter().any(|request| request.contains("/moved/") && request.contains(SECRET)));
    assert_none_has_it(&elsewhere);
}

#[test]
fn a_mirror_that_sends_us_elsewhere_does_not_get_it_there() {
    let case = case();
    case.server.faults(|faults| faults.redirect = Some(Redirect::Elsewhere));
    assert_same(&case.fetch("").unwrap(), &fixture("llama/hf"));
    assert_none_has_it(&case.server.requests().1);

    // Nor where it would be needed: what is wrong is not the token.
    let case = self::case();
    case.server.faults(|faults| {
        (faults.token, faults.redirect) = (Some(SECRET.into()), Some(Redirect::Elsewhere));
    });
    let (error, _) = case.fails("");
    assert!(matches!(error.kind, HubErrorKind::Download { .. }), "{error}");
    assert!(error.to_string().contains("not the hub's own server, and gets no token"), "{error}");
    assert_none_has_it(&case.server.requests().1);
}

#[test]
fn neither_token_nor_signature_is_shown() {
    let program = env!("CARGO_BIN_EXE_connector-under-test");
    for (flips, code) in [(0, 0), (9, 4)] {
        let case = case();
        case.server.faults(|faults| (faults.token, faults.flips) = (Some(SECRET.into()), flips));
        let ended = Child::new(program, &["plan", "hf://org/tiny"])
            .env("HF_ENDPOINT", &case.hub.endpoint)
            .env("HF_HUB_CACHE", &case.hub.cache)
            .env("HF_TOKEN", SECRET)
            .env("RUST_LOG", "trace")
            .run();
        assert_eq!(ended.code, Some(code), "{}", ended.text);
        assert!(!ended.text.contains(SECRET), "{}", ended.text);
        assert!(!ended.text.contains("Signature"), "{}", ended.text);
    }
}

#[test]
fn a_token_or_an_endpoint_that_cannot_be_is_named() {
    let mut case = Case::new();
    case.hub.token = Some(Token("a\nb".into()));
    let message = case.fails("").0.to_string();
    assert!(message.contains("HF_TOKEN: it has characters") && !message.contains("a\nb"));
    for endpoint in ["", "huggingface.co", "ftp://huggingface.co", "http://", "https://a b"] {
        (case.hub.token, case.hub.endpoint) = (None, endpoint.into());
        let message = case.fails("").0.to_string();
        assert!(message.contains("HF_ENDPOINT: it is no address such as https:"), "{message}");
    }
}

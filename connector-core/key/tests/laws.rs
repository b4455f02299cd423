//! What holds for every pattern and every key.

use connector_key::{Pattern, SyntaxError, expand, substitute};
use proptest::prelude::*;

/// Text with everything that means something in a pattern.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-c0-9._ :|+*{}]{0,6}",
        Just("{l}".to_string()),
        Just("{w:word}".to_string()),
        Just("{p:a|b}".to_string()),
        Just("{2 + e}".to_string()),
        Just("{n + m}".to_string()),
        Just("**".to_string()),
        Just("ä重".to_string()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// A well-formed pattern in which every capture is a segment, and values for its captures as they
/// stand in a key.
fn unambiguous() -> impl Strategy<Value = (String, Vec<String>)> {
    let number = || any::<u64>().prop_map(|n| n / 2);
    let piece = prop_oneof![
        "[a-z_]{1,4}".prop_map(|text| (text, None)),
        "[0-9+$ä]{1,4}".prop_map(|text| (text, None)),
        number().prop_map(|n| ("{#}".to_string(), Some(n.to_string()))),
        (0..9u64, number()).prop_map(|(o, n)| (format!("{{{o} + #}}"), Some((n + o).to_string()))),
        number().prop_map(|n| ("{n + #}".to_string(), Some((n + 61).to_string()))),
        "[a-z0-9ä]{1,5}".prop_map(|word| ("{#:word}".to_string(), Some(word))),
        "[a-z0-9ä]{1,5}".prop_map(|word| ("*".to_string(), Some(word))),
    ];
    prop::collection::vec(piece, 1..8).prop_map(|pieces| {
        let named = |(i, (text, _)): (usize, &(String, _))| text.replace('#', &format!("c{i}"));
        let pattern = pieces.iter().enumerate().map(named).collect::<Vec<_>>().join(".");
        let values = pieces.into_iter().filter_map(|(_, value)| value).collect();
        (pattern, values)
    })
}

fn field(name: &str) -> Option<u64> {
    (name == "n").then_some(61)
}

proptest! {
    #[test]
    fn nothing_panics(pattern in hostile(), key in hostile()) {
        let _ = expand(&pattern);
        let _ = substitute(&pattern, "p", "a");
        match Pattern::parse(&pattern) {
            Ok(parsed) => {
                if let Some(captures) = parsed.captures_with(&key, &field) {
                    prop_assert_eq!(parsed.key(&captures, field), Some(key));
                }
            }
            // The range is that of whole characters.
            Err(error) => prop_assert!(pattern.get(error.range()).is_some(), "{:?}", error),
        }
    }

    #[test]
    fn what_is_shown_parses_again(pattern in hostile()) {
        let shown = Pattern::parse(&pattern).map(|pattern| pattern.to_string());
        if let Ok(shown) = shown {
            prop_assert_eq!(Pattern::parse(&shown), Pattern::parse(&pattern));
        }
    }

    #[test]
    fn a_text_matches_itself(key in "[a-z0-9+()|^$ä]{1,5}(\\.[a-z0-9+()|^$ä]{1,5}){0,3}", other in any::<String>()) {
        let pattern = Pattern::parse(&key).unwrap();
        prop_assert!(pattern.matches(&key));
        prop_assert_eq!(pattern.matches(&other), key == other);
    }

    #[test]
    fn captures_and_keys_are_inverse((pattern, values) in unambiguous()) {
        let pattern = Pattern::parse(&pattern).unwrap();
        let mut values = values.into_iter();
        let segment = |segment: &str| match segment.starts_with(['{', '*']) {
            true => values.next().unwrap(),
            false => segment.to_string(),
        };
        let key = pattern.to_string().split('.').map(segment).collect::<Vec<_>>().join(".");
        let captures = pattern.captures_with(&key, &field).expect("it matches what it is filled with");
        prop_assert_eq!(captures.len(), pattern.names().count());
        prop_assert_eq!(pattern.key(&captures, field), Some(key.clone()));
        let again = pattern.key(&captures, field).and_then(|key| pattern.captures_with(&key, &field));
        prop_assert_eq!(again, Some(captures));
    }

    #[test]
    fn choices_leave_patterns_without_choices(pattern in hostile()) {
        for one in expand(&pattern).into_iter().flatten() {
            let unexpanded = connector_key::SyntaxErrorKind::UnexpandedChoice;
            let kind = Pattern::parse(&one).map_err(|error: SyntaxError| error.kind());
            prop_assert!(kind != Err(unexpanded), "{} gives {}", pattern, one);
        }
    }
}

/// A search that tries and goes back takes hours for these, not milliseconds.
#[test]
fn hostile_keys_cost_no_more_than_their_length() {
    let long = 200_000;
    for (pattern, key) in [
        ("*a*a*a*a*a*a*b", "a".repeat(long)),
        ("**.a.**.a.**.a.**.a.**.b", "a.".repeat(long)),
        ("**.*.**.*.**.*.b", "a.".repeat(long)),
        ("**.{l}.**.{e}.**.b", "1.".repeat(long)),
        ("*x{l}", "x1".repeat(long)),
        ("**.{l}", "1".repeat(long)),
    ] {
        let pattern = Pattern::parse(pattern).unwrap();
        assert!(!pattern.matches(&(key + "c")));
    }
}

//! Which keys match, and what is captured.

use connector_key::{Capture, Captures, Pattern};

/// One test for each pattern and key: what is captured.
macro_rules! matches {
    ($($name:ident: $pattern:literal, $key:expr => $captures:expr;)*) => {$(
        #[test]
        fn $name() {
            let pattern = Pattern::parse($pattern).unwrap();
            let captures = captures(&pattern, &$key).expect("it should match");
            assert_eq!(captures.to_string(), $captures);
            assert_eq!(pattern.key(&captures, fields).as_deref(), Some(&$key[..]));
        }
    )*};
}

/// One test for each pattern with keys that do not match.
macro_rules! nmatches {
    ($($name:ident: $pattern:literal, [$($key:expr),+ $(,)?];)*) => {$(
        #[test]
        fn $name() {
            let pattern = Pattern::parse($pattern).unwrap();
            for key in [$($key),+] {
                assert_eq!(captures(&pattern, &key), None, "{key}");
            }
        }
    )*};
}

/// The config: 61 layers.
fn fields(name: &str) -> Option<u64> {
    (name == "num_layers").then_some(61)
}

fn captures<'a>(pattern: &Pattern<'a>, key: &str) -> Option<Captures<'a>> {
    pattern.captures_with(key, &fields)
}

matches! {
    text: "model.norm.weight", "model.norm.weight" => "";
    a_literal_digit: "mlp.0.w", "mlp.0.w" => "";
    an_index: "l.{layer}.w", "l.0.w" => "{layer} = 0";
    a_long_index: "l.{layer}.w", "l.1234567890.w" => "{layer} = 1234567890";
    the_largest_index: "l.{i}", "l.18446744073709551615" => "{i} = 18446744073709551615";
    a_glued_index: "fc1.weight{e}", "fc1.weight12" => "{e} = 12";
    text_behind_an_index: "{e}th.w", "4th.w" => "{e} = 4";
    a_digit_before_an_index: "fc1{e}", "fc12" => "{e} = 2";
    two_indices: "l.{l}.e.{e}.w", "l.3.e.11.w" => "{l} = 3, {e} = 11";
    literal_digits_beside_an_index: "block.{l}.layer.0.q", "block.7.layer.0.q" => "{l} = 7";
    a_star: "a.*.b", "a.x.b" => "* = x";
    a_star_takes_a_number: "a.*.b", "a.10.b" => "* = 10";
    a_star_takes_leading_zeros_as_text: "a.*.b", "a.007.b" => "* = 007";
    a_star_takes_more_than_64_bits_as_text: "a.*", "a.99999999999999999999" =>
        "* = 99999999999999999999";
    a_star_takes_any_character: "a.*", "a.+[(|)]? ä" => "* = +[(|)]? ä";
    a_glued_star: "weight*", "weight_scale" => "* = _scale";
    a_star_between_text: "a*c", "abbbc" => "* = bbb";
    the_first_star_takes_the_most: "*_*", "x_y_z" => "* = x_y, * = z";
    a_star_goes_back_for_the_next_part: "*x", "xxx" => "* = xx";
    a_star_before_an_index: "*_{i}", "a_1_2" => "* = a_1, {i} = 2";
    a_star_ends_before_a_digit: "*1{i}", "11111" => "* = 111, {i} = 1";
    a_word: "a.{w:word}.b", "a.q_proj.b" => "{w} = q_proj";
    a_word_of_digits_is_an_index: "a.{w:word}", "a.3" => "{w} = 3";
    any_one_segment: "a.**.c", "a.b.c" => "* = b";
    any_many_segments: "a.**.c", "a.b.b.b.c" => "* = b.b.b";
    any_takes_the_most: "**.c.**", "a.c.c.c.b" => "* = a.c.c, * = b";
    any_alone: "**", "a.b" => "* = a.b";
    any_before_an_index: "**.{l}", "a.1.2" => "* = a.1, {l} = 2";
    any_and_a_star: "**.x.*", "a.x.x.y" => "* = a.x, * = y";
    any_with_empty_segments: "a.**.b", "a...b" => "* = .";
    a_constant_offset: "l.{2 + i}", "l.5" => "{i} = 3";
    a_constant_offset_at_its_end: "l.{2 + i}", "l.2" => "{i} = 0";
    a_negative_offset: "l.{i - 2}", "l.5" => "{i} = 7";
    a_multiple: "l.{5 * i + 3}.w", "l.13.w" => "{i} = 2";
    a_multiple_below: "l.{2 * i - 1}", "l.3" => "{i} = 2";
    a_field: "l.{num_layers:field}.w.{i}", "l.61.w.2" => "{i} = 2";
    a_field_beside_a_star: "l.*_{num_layers:field}", "l.x_61" => "* = x";
    a_field_offset: "l.{num_layers + mtp}.w", "l.61.w" => "{mtp} = 0";
    a_field_offset_beyond_it: "l.{num_layers + mtp}.w", "l.163.w" => "{mtp} = 102";
    unicode_in_text: "größe.{l}.重み", "größe.3.重み" => "{l} = 3";
    unicode_in_a_star: "a.*.b", "a.重み.b" => "* = 重み";
    unicode_cut_by_text: "*み*", "重みみ重" => "* = 重み, * = 重";
    metacharacters: "a+b.{l}[0].(w)", "a+b.1[0].(w)" => "{l} = 1";
}

nmatches! {
    no_multiple: "l.{5 * i + 3}", ["l.12", "l.2", "l.4"];
    another_number_than_the_field: "l.{num_layers:field}", ["l.6", "l.611", "l.061", "l."];
    a_longer_number_than_the_field: "l.*_{num_layers:field}", ["l.x_610", "l.x_6"];
    anchored_at_both_ends: "a.b", ["a.b.c", "x.a.b", "a.bc", "xa.b", "a", ""];
    metacharacters_mean_nothing: "a+b.w", ["aab.w", "ab.w", "a+bxw"];
    an_index_is_digits_only: "l.{l}.w", ["l.x.w", "l.1x.w", "l.-1.w", "l.+1.w", "l.1_0.w", "l..w"];
    an_index_is_ascii: "l.{l}", ["l.٣", "l.３", "l.²"];
    an_index_has_no_leading_zero: "l.{l}", ["l.00", "l.01", "l.007"];
    an_index_has_64_bits: "l.{l}", ["l.18446744073709551616", "l.100000000000000000000"];
    an_index_of_a_million_digits: "l.{l}", ["l.".to_string() + &"9".repeat(1_000_000)];
    an_index_takes_all_digits: "l.{l}th", ["l.1.2th", "l.12", "l.1 th"];
    a_glued_index_is_no_word: "fc1.weight{e}", [
        "fc1.weight", "fc1.weight_scale", "fc1.weight_scale_inv", "fc1.weight_extra_state",
        "fc1.weight1_scale", "fc1.weight.1",
    ];
    a_star_is_not_empty: "weight*", ["weight", "weigh"];
    a_star_between_is_not_empty: "a.*.b", ["a..b", "a.b"];
    a_star_has_no_dot: "a.*", ["a.b.c", "a..", "a."];
    two_stars_need_two_characters: "**.*", ["a", ".a", "a.", "."];
    any_is_not_empty: "a.**.b", ["a..b", "a.b"];
    any_is_whole_segments: "a.**.b", ["ax.c.b", "a.cb", "a.c.xb"];
    an_index_below_its_offset: "l.{2 + i}", ["l.0", "l.1"];
    an_index_below_its_field: "l.{num_layers + mtp}.w", ["l.0.w", "l.60.w"];
    an_unknown_field: "l.{layers + mtp}.w", ["l.0.w", "l.61.w"];
    literal_digits: "block.{l}.layer.0.q", ["block.7.layer.1.q", "block.0.layer.00.q"];
    a_choice_of_case: "a.W", ["a.w", "A.W"];
}

#[test]
fn fields_count_as_zero_where_the_config_is_unknown() {
    let pattern = Pattern::new("l.{num_layers + mtp}");
    assert_eq!(pattern.captures("l.61").unwrap().index("mtp"), Some(61));
    assert!(pattern.matches("l.0") && !pattern.matches("l.x"));
}

#[test]
fn the_empty_pattern_matches_the_empty_key() {
    assert!(Pattern::EMPTY.matches("") && !Pattern::EMPTY.matches("a"));
}

#[test]
fn captures_sort_as_numbers() {
    let keys = ["l.10.e.2", "l.2.e.10", "l.2.e.x", "l.2.e.9", "l.x.e.0", "l.2.e.007"];
    let pattern = Pattern::new("l.{a:word}.e.{b:word}");
    let mut captures: Vec<_> = keys.iter().map(|key| pattern.captures(key).unwrap()).collect();
    captures.sort();
    let sorted: Vec<_> = captures.iter().map(|c| pattern.key(c, |_| None).unwrap()).collect();
    assert_eq!(sorted, ["l.2.e.9", "l.2.e.10", "l.2.e.007", "l.2.e.x", "l.10.e.2", "l.x.e.0"]);
}

#[test]
fn captures_change_by_name() {
    let captures = Pattern::new("a.{l}.{e}.*").captures("a.1.2.x").unwrap();
    let three = captures.with(Capture::index("e", 3));
    assert_eq!(three.to_string(), "{l} = 1, {e} = 3, * = x");
    assert_eq!(three.without("l").to_string(), "{e} = 3, * = x");
    assert_eq!(three.without("l").with(Capture::index("l", 4)).index("l"), Some(4));
    // Captures without a name are all different ones.
    assert_eq!(captures.with(Capture::word("", "y")).len(), 4);
    assert!(captures.get("l").unwrap().same_value(&Capture::word("other", "1")));
    assert!(!captures.get("l").unwrap().same_value(&Capture::word("l", "01")));
}

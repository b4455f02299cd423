//! What is a pattern and what is not.

use connector_key::{Offset, Part, Pattern, SyntaxErrorKind};

/// One test for each pattern: the parts that it has.
macro_rules! syntax {
    ($($name:ident: $text:literal => [$($part:expr),*];)*) => {$(
        #[test]
        fn $name() {
            let pattern = Pattern::parse($text).unwrap();
            assert_eq!(pattern.parts(), [$($part),*]);
            assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
        }
    )*};
}

/// One test for each malformed pattern: what is wrong, and the text that is wrong.
macro_rules! syntaxerr {
    ($($name:ident: $text:expr => $kind:ident, $place:expr, $wrong:expr;)*) => {$(
        #[test]
        fn $name() {
            let (text, wrong): (&str, &str) = (&$text, &$wrong);
            let error = Pattern::parse(text).unwrap_err();
            assert_eq!(error.kind(), SyntaxErrorKind::$kind);
            assert_eq!(error.range(), $place..$place + wrong.len());
            assert_eq!(&text[error.range()], wrong);
        }
    )*};
}

const fn text(text: &str) -> Part<'_> {
    Part::Text(text)
}

const fn word(name: &str) -> Part<'_> {
    Part::Word { name }
}

const fn index(name: &str) -> Part<'_> {
    shown(1, name, Offset::None)
}

const fn above(n: u64, name: &str) -> Part<'_> {
    shown(1, name, Offset::Constant(n))
}

const fn field<'a>(field: &'a str, name: &'a str) -> Part<'a> {
    shown(1, name, Offset::Field(field))
}

const fn shown<'a>(scale: u64, name: &'a str, offset: Offset<'a>) -> Part<'a> {
    Part::Index { name, offset, scale }
}

syntax! {
    only_text: "model.norm.weight" => [text("model.norm.weight")];
    one_letter: "a" => [text("a")];
    an_index: "layers.{layer}.w" => [text("layers."), index("layer"), text(".w")];
    an_index_alone: "{layer}" => [index("layer")];
    an_index_glued_to_text: "fc1.weight{e}" => [text("fc1.weight"), index("e")];
    text_behind_an_index: "{e}th" => [index("e"), text("th")];
    a_digit_before_an_index: "fc1{e}" => [text("fc1"), index("e")];
    a_star: "a.*.b" => [text("a."), word(""), text(".b")];
    a_glued_star: "weight*" => [text("weight"), word("")];
    two_stars_in_a_segment: "*_*" => [word(""), text("_"), word("")];
    any_first: "**.w" => [Part::Any, text(".w")];
    any_last: "a.**" => [text("a."), Part::Any];
    any_alone: "**" => [Part::Any];
    any_twice: "**.x.**" => [Part::Any, text(".x."), Part::Any];
    a_word: "a.{w:word}" => [text("a."), word("w")];
    an_underscore_is_a_name: "{_}.{a_1}" => [index("_"), text("."), index("a_1")];
    an_offset: "a.{2 + l}" => [text("a."), above(2, "l")];
    an_offset_without_spaces: "{61+i}" => [above(61, "i")];
    an_offset_with_many_spaces: "{  61  +  i  }" => [above(61, "i")];
    the_largest_offset: "{4294967295 + i}" => [above(u32::MAX as u64, "i")];
    no_offset_at_all: "{0 + i}" => [index("i")];
    an_offset_behind_the_name: "{l + 2}" => [above(2, "l")];
    a_negative_offset: "{l - 2}" => [shown(1, "l", Offset::Minus(2))];
    a_multiple: "{5 * l}" => [shown(5, "l", Offset::None)];
    a_multiple_with_an_offset: "{5*l + 3}" => [shown(5, "l", Offset::Constant(3))];
    an_offset_with_a_multiple: "{3 + 5 * l}" => [shown(5, "l", Offset::Constant(3))];
    a_multiple_below: "{2 * l - 1}" => [shown(2, "l", Offset::Minus(1))];
    a_field_and_a_multiple: "{n + 2 * l}" => [shown(2, "l", Offset::Field("n"))];
    once: "{1 * l - 0}" => [index("l")];
    a_field_alone: "a.{num_layers:field}.b" =>
        [text("a."), Part::Field { name: "num_layers" }, text(".b")];
    a_field_as_offset: "{num_layers + mtp}" => [field("num_layers", "mtp")];
    metacharacters_are_text: r"a+b[0](c)|^d$\e?f" => [text(r"a+b[0](c)|^d$\e?f")];
    unicode_is_text: "größe.{l}.重み" => [text("größe."), index("l"), text(".重み")];
    spaces_are_text: "a b.c" => [text("a b.c")];
    literal_digits: "layer.0.{l}.2" => [text("layer.0."), index("l"), text(".2")];
}

syntaxerr! {
    empty: "" => Empty, 0, "";
    a_dot: "." => EmptySegment, 0, ".";
    a_dot_first: ".a" => EmptySegment, 0, ".";
    a_dot_last: "a." => EmptySegment, 1, ".";
    two_dots: "a..b" => EmptySegment, 2, ".";
    two_dots_behind_a_capture: "{a}..b" => EmptySegment, 4, ".";
    a_dot_last_behind_a_capture: "a.{b}." => EmptySegment, 5, ".";
    a_dot_first_before_a_capture: ".{b}" => EmptySegment, 0, ".";
    three_stars: "a.***" => PartialSegment, 2, "***";
    any_glued_in_front: "a.x**" => PartialSegment, 3, "**";
    any_glued_behind: "**x" => PartialSegment, 0, "**";
    any_behind_a_capture: "{a}**" => PartialSegment, 3, "**";
    unclosed: "a.{layer" => Unclosed, 2, "{";
    unclosed_at_the_end: "a.{" => Unclosed, 2, "{";
    unopened: "a.b}" => Unopened, 3, "}";
    unopened_behind_a_capture: "{a}}" => Unopened, 3, "}";
    no_name: "a.{}" => BadName, 2, "{}";
    a_name_with_a_space: "{a b}" => BadName, 0, "{a b}";
    a_name_with_spaces_around: "{ a }" => BadName, 0, "{ a }";
    a_name_that_begins_with_a_digit: "{0a}" => BadName, 0, "{0a}";
    a_number: "{0}" => BadName, 0, "{0}";
    a_name_beyond_ascii: "x.{ä}" => BadName, 2, "{ä}";
    a_brace_in_a_name: "{a{b}" => BadName, 0, "{a{b}";
    a_star_in_a_name: "{*}" => BadName, 0, "{*}";
    a_word_without_a_name: "{:word}" => BadName, 0, "{:word}";
    an_offset_without_a_name: "{2 + }" => BadName, 0, "{2 + }";
    two_offsets: "{2 + n + l}" => BadName, 0, "{2 + n + l}";
    an_unknown_type: "{l:int}" => UnknownType, 0, "{l:int}";
    a_type_in_capitals: "{l:Word}" => UnknownType, 0, "{l:Word}";
    no_type: "{l:}" => UnknownType, 0, "{l:}";
    a_choice: "a.{p:weight|bias}" => UnexpandedChoice, 2, "{p:weight|bias}";
    no_offset: "{ + l}" => BadOffset, 0, "{ + l}";
    a_negative_offset_in_front: "{-2 + l}" => BadOffset, 0, "{-2 + l}";
    a_number_less_an_index: "{2 - l}" => BadOffset, 0, "{2 - l}";
    an_index_less_a_field: "{l - n}" => BadOffset, 0, "{l - n}";
    an_index_times_a_field: "{n * l + 1}" => BadOffset, 0, "{n * l + 1}";
    never: "{0 * l}" => BadName, 0, "{0 * l}";
    a_field_without_a_name: "{:field}" => BadName, 0, "{:field}";
    a_field_behind_an_index: "{l}{n:field}" => Adjacent, 3, "{n:field}";
    a_digit_behind_a_field: "{n:field}0" => DigitAfterIndex, 9, "0";
    an_offset_of_33_bits: "{4294967296 + l}" => BadOffset, 0, "{4294967296 + l}";
    an_endless_offset: "{99999999999999999999999999 + l}" => BadOffset, 0,
        "{99999999999999999999999999 + l}";
    two_indices_adjacent: "{a}{b}" => Adjacent, 3, "{b}";
    a_star_behind_an_index: "{a}*" => Adjacent, 3, "*";
    an_index_behind_a_star: "*{a}" => Adjacent, 1, "{a}";
    two_words_adjacent: "x{a:word}{b:word}" => Adjacent, 9, "{b:word}";
    a_digit_behind_an_index: "a.{l}0" => DigitAfterIndex, 5, "0";
    a_digit_behind_an_offset: "{2 + l}7.x" => DigitAfterIndex, 7, "7";
    a_name_twice: "{l}.{l}" => RepeatedName, 4, "{l}";
    a_name_twice_with_an_offset: "{l}.x.{2 + l}" => RepeatedName, 6, "{2 + l}";
    a_name_twice_as_a_word: "{l}.{l:word}" => RepeatedName, 4, "{l:word}";
    seventeen_parts: "*.*.*.*.*.*.*.*.*" => TooLong, 16, "*";
    the_mistake_behind_unicode: "größe.{" => Unclosed, 8, "{";
}

#[test]
fn messages_say_how_to_write_it_and_where() {
    for (text, want) in [
        ("a.**b", "`**` must be a whole segment: write `a.**.b`"),
        ("{l - n}", "`{name - 2}`, `{field + name}`"),
        ("a.{l", "(at character 3)"),
    ] {
        let message = Pattern::parse(text).unwrap_err().to_string();
        assert!(message.contains(want), "{message}");
    }
}

#[test]
#[should_panic(expected = "this `{` is never closed")]
fn a_malformed_constant_does_not_evaluate() {
    let _ = Pattern::new("a.{");
}

/// All of it is usable in constants.
const PATTERN: Pattern<'static> = Pattern::new("a.{l}").join(&Pattern::new("{n + e}.**"));

#[test]
fn patterns_in_constants() {
    assert_eq!(PATTERN.to_string(), "a.{l}.{n + e}.**");
    const { assert!(!PATTERN.is_empty()) }
}

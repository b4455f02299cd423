//! Numbers and names as a reader wants them.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A space at which lines are not broken; shown as a plain one.
pub(super) const JOINED: char = '\u{a0}';

/// `14.5 GB`: decimal units, as vendors of disks count.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    // 999.5 would show as 1000.
    while value >= 999.5 {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 99.95);
    format!("{value:.decimals$}{JOINED}{}", UNITS[unit])
}

/// `7.6 s`, `2 min 5 s`, `1 h 3 min`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.1 {
        return format!("{:.0}{JOINED}ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1}{JOINED}s");
    }
    let seconds = seconds.round() as u64;
    match seconds / 3600 {
        0 => format!("{}{JOINED}min{JOINED}{}{JOINED}s", seconds / 60, seconds % 60),
        hours => format!("{hours}{JOINED}h{JOINED}{}{JOINED}min", seconds % 3600 / 60),
    }
}

/// `2026-11-24`, in UTC.
pub(super) fn day(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Days since 0000-03-01, so that the day that leap years add is a year's last one.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

/// `1.9 GB/s`.
pub(super) fn speed(amount: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = if seconds > 0.0 { amount as f64 / seconds } else { 0.0 };
    format!("{}/s", bytes(rate as u64))
}

/// `1 tensor`, `2 tensors`.
pub(super) fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number}{JOINED}{what}{s}")
}

/// `8.03 billion`, for numbers of parameters.
pub(super) fn amount(number: u64) -> String {
    let (value, word) = match number {
        0..1_000_000 => return number.to_string(),
        1_000_000..1_000_000_000 => (number as f64 / 1e6, "million"),
        1_000_000_000..1_000_000_000_000 => (number as f64 / 1e9, "billion"),
        _ => (number as f64 / 1e12, "trillion"),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{JOINED}{word}")
}

/// `[4096, 128]`.
pub(super) fn shape(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(&format!(",{JOINED}")))
}

/// `bf16`: as `--dtype` takes it.
pub(super) fn dtype(name: impl ToString) -> String {
    name.to_string().to_ascii_lowercase()
}

/// `a, b, c and 12 more`.
pub(super) fn some<T: AsRef<str>>(names: &[T], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What this program is called: a user's own binary has the whole command line too.
pub(super) fn program() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = path.as_deref().and_then(|path| path.file_stem()).unwrap_or("connector".as_ref());
    quoted(name.as_ref())
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &std::path::Path) -> String {
    quoted_text(&path.display().to_string())
}

/// A key or a pattern as a shell takes it: names come from files.
pub(super) fn quoted_text(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:~".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Whether a character controls the terminal, breaks a line, or turns the direction of writing: names
/// in files must not write as they please.
fn controls(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{206f}');
    c.is_control() || turns || matches!(c, '\u{2028}'..='\u{202e}')
}

/// The text with such characters as escapes.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(controls) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Writing to a string does not fail.
        let _ =
            if controls(c) { write!(out, "{}", c.escape_default()) } else { write!(out, "{c}") };
    }
    Cow::Owned(out)
}

/// JSON with such characters as escapes of its own. Those that serde leaves stand in strings.
pub(super) fn printable_json(json: String) -> String {
    let stays = |c: char| c == '\n' || !controls(c);
    if json.chars().all(stays) {
        return json;
    }
    let escaped = |c: char| if stays(c) { c.to_string() } else { format!("\\u{:04x}", c as u32) };
    json.chars().map(escaped).collect()
}

/// [`printable`], line by line.
pub(super) fn printable_lines(text: &str) -> String {
    let part = |part: &str| {
        let end = part.len() - usize::from(part.ends_with(['\n', '\t']));
        printable(&part[..end]).into_owned() + &part[end..]
    };
    text.split_inclusive(['\n', '\t']).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, want) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_795_478_400, "2026-11-24"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(UNIX_EPOCH + Duration::from_secs(seconds)), want);
        }
    }

    fn plain(text: String) -> String {
        text.replace(JOINED, " ")
    }

    #[test]
    fn bytes_have_decimal_units() {
        for (number, want) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1536, "1.5 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (212_400_000, "212 MB"),
            (14_483_498_496, "14.5 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(plain(bytes(number)), want);
        }
    }

    #[test]
    fn durations_have_two_parts_at_most() {
        for (ms, want) in [
            (0, "0 ms"),
            (85, "85 ms"),
            (100, "0.1 s"),
            (7_640, "7.6 s"),
            (59_990, "1 min 0 s"),
            (125_000, "2 min 5 s"),
            (3_780_000, "1 h 3 min"),
        ] {
            assert_eq!(plain(duration(Duration::from_millis(ms))), want);
        }
        assert_eq!(plain(speed(3_800_000_000, Duration::from_secs(2))), "1.9 GB/s");
        assert_eq!(plain(speed(1, Duration::ZERO)), "0 B/s");
    }

    #[test]
    fn amounts_and_counts() {
        for (number, want) in [
            (0, "0"),
            (999_999, "999999"),
            (1_235_000, "1.24 million"),
            (8_030_261_248, "8.03 billion"),
            (70_553_706_496, "70.6 billion"),
            (1_000_000_000_000, "1.00 trillion"),
        ] {
            assert_eq!(plain(amount(number)), want);
        }
        assert_eq!(plain(count(1, "file")), "1 file");
        assert_eq!(plain(count(0, "file")), "0 files");
    }

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        for (path, want) in
            [("a/b-1.0", "a/b-1.0"), ("my model", "'my model'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(quoted(path.as_ref()), want);
        }
    }

    #[test]
    fn lists_are_cut() {
        assert_eq!(some(&["a", "b"], 2), "a, b");
        assert_eq!(some(&["a", "b", "c"], 1), "a and 2 more");
        assert_eq!(some::<&str>(&[], 1), "");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a.b → c"), "a.b → c");
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("a\u{9b}2J\u{2028}b\u{202e}"), "a\\u{9b}2J\\u{2028}b\\u{202e}");
        assert_eq!(printable("\u{61c}\u{2066}日本 é\u{200d}"), "\\u{61c}\\u{2066}日本 é\u{200d}");
        let json = serde_json::json!({ "a\u{9b}": "é\u{2028}\u{7f}\n" });
        let text = printable_json(format!("{json:#}"));
        assert_eq!(text, "{\n  \"a\\u009b\": \"é\\u2028\\u007f\\n\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), json);
        assert_eq!(printable_lines("a\u{1b}\n\tb\r\n\n"), "a\\u{1b}\n\tb\\r\n\n");
    }
}

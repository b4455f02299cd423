use std::fmt;
use std::str::FromStr;

/// A number of bytes as a user writes it, `2GiB`; shown as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub bytes: u64,
    text: String,
}

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write for example 2GiB, 1.5GB, 500MB or 1048576";
        let text = text.trim();
        match parse(text) {
            Some(0) => Err(format!("it must be more than 0; {example}")),
            Some(bytes) => Ok(Size { bytes, text: text.into() }),
            None => Err(format!("this is no size; {example}")),
        }
    }
}

/// `None` for what is no size or does not fit in 64 bits.
fn parse(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_uppercase();
    let factor = UNITS.iter().find(|known| known.0 == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(factor);
    let part = match fraction {
        "" => 0,
        digits => {
            digits.parse::<u128>().ok()? * u128::from(factor) / 10u128.pow(digits.len() as u32)
        }
    };
    u64::try_from(whole + part).ok()
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, want) in [
            ("2GiB", Some(2 << 30)),
            ("5GB", Some(5_000_000_000)),
            ("500MB", Some(500_000_000)),
            ("500 mb", Some(500_000_000)),
            ("1048576", Some(1_048_576)),
            ("64kib", Some(65_536)),
            ("1.5GB", Some(1_500_000_000)),
            ("0.5KiB", Some(512)),
            ("7B", Some(7)),
            ("17179869183TiB", None),
            ("18446744073709551616", None),
            ("0", None),
            ("0GB", None),
            ("0.0001B", None),
            ("", None),
            ("GB", None),
            (".5GB", None),
            ("1..5GB", None),
            ("1.5.5GB", None),
            ("2G", None),
            ("-1GB", None),
            ("1e9", None),
            ("five", None),
            ("5GB!", None),
            ("½GB", None),
        ] {
            assert_eq!(text.parse::<Size>().ok().map(|size| size.bytes), want, "{text}");
        }
    }

    #[test]
    fn mistakes_come_with_examples() {
        for text in ["0", "2G", ""] {
            assert!(text.parse::<Size>().unwrap_err().contains("2GiB"), "{text}");
        }
        assert_eq!("2GiB".parse::<Size>().unwrap().to_string(), "2GiB");
    }
}

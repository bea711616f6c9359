//! The typed values that arguments are made of. Each keeps the text that the user wrote (`30m`, `4G`), because plans are
//! shown to people and compared by their text, and offers the number behind it.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A value that does not have the form that its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct ValueError {
    /// What was given.
    pub text: String,
    /// What would have been right, with an example.
    pub wanted: &'static str,
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;
            fn try_from(text: String) -> Result<Self, ValueError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(ValueError { text, wanted: $wanted }) }
            }
        }

        impl FromStr for $name {
            type Err = ValueError;
            fn from_str(text: &str) -> Result<Self, ValueError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_value!(
    /// A length of time in one unit: `90s`, `30m`, `2h`, `2d`, `1w`.
    Span,
    "a duration such as 90s, 30m, 2h or 2d",
    |text| span_seconds(text).is_some()
);

text_value!(
    /// An amount of memory or disk in binary units: `512M`, `4G`, `1T`.
    Size,
    "a size such as 512M, 4G or 1T",
    |text| size_bytes(text).is_some()
);

text_value!(
    /// An inclusive range of line numbers, counted from 1: `10-25`.
    LineRange,
    "a range of lines such as 10-25",
    |text| line_range(text).is_some()
);

text_value!(
    /// An instant, RFC 3339: `2026-01-15T06:00:00Z`.
    Time,
    "an RFC 3339 time such as 2026-01-15T06:00:00Z",
    |text| text.parse::<jiff::Timestamp>().is_ok()
);

impl Span {
    /// The length in whole seconds.
    pub fn seconds(&self) -> u64 {
        span_seconds(&self.0).unwrap_or_default()
    }
}

impl Size {
    /// The amount in bytes, K, M, G and T being powers of 1024.
    pub fn bytes(&self) -> u64 {
        size_bytes(&self.0).unwrap_or_default()
    }
}

impl LineRange {
    /// First and last line, both included, counted from 1.
    pub fn bounds(&self) -> (usize, usize) {
        line_range(&self.0).unwrap_or((1, usize::MAX))
    }
}

impl Time {
    /// Seconds since the Unix epoch.
    pub fn unix_seconds(&self) -> i64 {
        self.0.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or_default()
    }
}

/// What a unified diff must at least have to be one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Patch(String);

impl Patch {
    /// The diff's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Patch {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        if text.lines().any(|line| line.starts_with("@@ ")) {
            Ok(Self(text))
        } else {
            Err(ValueError { text, wanted: "a unified diff (no line starts with `@@ `)" })
        }
    }
}

impl From<Patch> for String {
    fn from(patch: Patch) -> Self {
        patch.0
    }
}

/// What `system.processes` sorts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortBy {
    /// Share of a core over the sampling interval.
    Cpu,
    /// Resident set size.
    Memory,
}

/// A container or a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// An LXC container.
    Ct,
    /// A QEMU virtual machine.
    Vm,
}

impl GuestKind {
    /// `ct` or `vm`, as targets are written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ct => "ct",
            Self::Vm => "vm",
        }
    }

    /// Proxmox's API word: `lxc` or `qemu`.
    pub fn api(self) -> &'static str {
        match self {
            Self::Ct => "lxc",
            Self::Vm => "qemu",
        }
    }
}

impl fmt::Display for GuestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn span_seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    digits(number)?.checked_mul(seconds)
}

fn size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits(number)?.checked_mul(1 << shift)
}

fn line_range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    (first >= 1 && first <= last).then_some((usize::try_from(first).ok()?, usize::try_from(last).ok()?))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_know_their_numbers() {
        assert_eq!("2d".parse::<Span>().unwrap().seconds(), 172_800);
        assert_eq!("512M".parse::<Size>().unwrap().bytes(), 512 << 20);
        for bad in ["", "m", "2", "-2h", "2H", "9999999999999999999w", "٣m", "2ü"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert!("99999999999T".parse::<Size>().is_err());
    }

    #[test]
    fn ranges_are_ordered_and_start_at_one() {
        assert_eq!("10-25".parse::<LineRange>().unwrap().bounds(), (10, 25));
        for bad in ["0-3", "5-4", "-", "3", "1-2-3"] {
            assert!(bad.parse::<LineRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_say_what_would_be_right() {
        let error = "soon".parse::<Span>().unwrap_err();
        assert_eq!(error.to_string(), "`soon` is not a duration such as 90s, 30m, 2h or 2d");
    }
}

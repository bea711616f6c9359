//! When a line of a log file was written, in the forms that log files have.

use crate::sys::clock;
use jiff::{
    civil::{Date, DateTime, Time},
    fmt::strtime,
};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since the epoch; `None` for a line that begins with no time. `now` settles the year that syslog leaves out.
pub fn of_line(line: &str, now: i64) -> Option<i64> {
    let line = line.trim_start_matches(['[', '<']);
    iso(line).or_else(|| syslog(line, now)).or_else(|| access(line))
}

/// `2026-11-22T10:00:00.123Z`, `2026-11-22 10:00:00,123`, `2026/11/22 10:00:00`.
fn iso(line: &str) -> Option<i64> {
    let start = line.get(..19)?;
    let bytes = start.as_bytes();
    if !bytes[0].is_ascii_digit() || bytes[4] != bytes[7] || !b"-/".contains(&bytes[4]) || !b"T ".contains(&bytes[10]) {
        return None;
    }
    let date: Date = start[..10].replace('/', "-").parse().ok()?;
    let time: Time = start[11..].parse().ok()?;
    let rest = line[19..].split([' ', ']', '\t']).next().unwrap_or_default();
    let zone = rest.trim_start_matches(|char: char| char.is_ascii_digit() || char == '.' || char == ',');
    let zoned = format!("{date}T{time}{zone}").parse::<jiff::Timestamp>().ok();
    zoned.map(jiff::Timestamp::as_second).or_else(|| clock::local_to_unix(date.to_datetime(time)))
}

/// `Nov  2 10:00:00`, in local time and of the last twelve months.
fn syslog(line: &str, now: i64) -> Option<i64> {
    let start = line.get(..15)?;
    let month = i8::try_from(MONTHS.iter().position(|month| start.starts_with(month))?).ok()? + 1;
    let day: i8 = start[4..6].trim().parse().ok()?;
    let time: Time = start[7..].parse().ok()?;
    let year = jiff::Timestamp::from_second(now).ok()?.to_zoned(jiff::tz::TimeZone::UTC).year();
    let at = |year| clock::local_to_unix(DateTime::from_parts(Date::new(year, month, day).ok()?, time));
    // A day of leeway: this machine's clock may have been set back, and the year turns at different times.
    at(year).filter(|time| *time <= now + 86_400).or_else(|| at(year - 1))
}

/// `10.0.0.1 - - [22/Nov/2026:10:00:00 +0000] "GET /"`.
fn access(line: &str) -> Option<i64> {
    let inner = line.split_once('[')?.1.split_once(']')?.0;
    strtime::parse("%d/%b/%Y:%H:%M:%S %z", inner).ok()?.to_timestamp().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_with_a_zone_read() {
        let noon = "2026-11-22T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        for line in [
            "2026-11-22T12:00:00Z web nginx: x",
            "2026-11-22T13:00:00.123456+01:00 web nginx: x",
            "[2026-11-22T12:00:00.5Z] x",
            "10.0.0.1 - - [22/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 200",
        ] {
            assert_eq!(of_line(line, noon), Some(noon), "{line}");
        }
    }

    #[test]
    fn the_forms_without_a_zone_are_local() {
        let noon = clock::local_to_unix("2026-11-22T12:00:00".parse().unwrap()).unwrap();
        for line in
            ["2026/11/22 12:00:00 [error] 1#1", "2026-11-22 12:00:00,123 INFO x", "Nov 22 12:00:00 web nginx[812]: x"]
        {
            assert_eq!(of_line(line, noon + 60), Some(noon), "{line}");
        }
        let december = of_line("Dec 24 12:00:00 web x", noon).unwrap();
        assert!(december < noon, "a date to come is of last year");
    }

    #[test]
    fn other_lines_have_no_time() {
        for line in ["", "  at java.lang", "Nov", "2026-13-41T99:00:00Z", "ünïcödé and more of the same", "Mayor said"]
        {
            assert_eq!(of_line(line, 0), None, "{line}");
        }
    }
}

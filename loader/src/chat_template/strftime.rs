//! The function `strftime_now`: the present date, for templates that tell it to the model.
//!
//! Python's uses local time; this uses UTC, so that a prompt does not depend on the machine's
//! time zone.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// Writes a point in time by a format of Python's `strftime`: the directives
/// `%Y %y %m %d %e %B %b %A %a %j %H %I %M %S %p %%`. The error names any other.
pub(super) fn strftime(format: &str, now: SystemTime) -> Result<String, String> {
    let date = Date::from(now);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let written = match chars.next() {
            Some('Y') => format!("{:04}", date.year),
            Some('y') => format!("{:02}", date.year % 100),
            Some('m') => format!("{:02}", date.month0 + 1),
            Some('d') => format!("{:02}", date.day),
            Some('e') => format!("{:2}", date.day),
            Some('B') => MONTHS[date.month0].to_owned(),
            Some('b') => MONTHS[date.month0][..3].to_owned(),
            Some('A') => WEEKDAYS[date.weekday].to_owned(),
            Some('a') => WEEKDAYS[date.weekday][..3].to_owned(),
            Some('j') => format!("{:03}", date.day_of_year),
            Some('H') => format!("{:02}", date.hour),
            Some('I') => format!("{:02}", (date.hour + 11) % 12 + 1),
            Some('M') => format!("{:02}", date.minute),
            Some('S') => format!("{:02}", date.second),
            Some('p') => if date.hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => return Err(format!("strftime_now does not know %{other}")),
            None => return Err("strftime_now: the format ends in %".to_owned()),
        };
        out.push_str(&written);
    }
    Ok(out)
}

/// A point in time on the Gregorian calendar, UTC.
struct Date {
    year: u64,
    /// 0 is January.
    month0: usize,
    day: u64,
    /// 1 is the first of January.
    day_of_year: u64,
    /// 0 is Sunday.
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

impl From<SystemTime> for Date {
    /// Clocks before 1970 count as 1970.
    fn from(time: SystemTime) -> Date {
        let seconds = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let days = seconds / 86_400;
        let (year, day_of_year) = year_and_day(days);
        let (month0, day) = month_and_day(year, day_of_year);
        Date {
            year,
            month0,
            day: day + 1,
            day_of_year: day_of_year + 1,
            // The first of January 1970 was a Thursday.
            weekday: ((days + 4) % 7) as usize,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The year, and the day within it from 0, of a day counted from 1970.
fn year_and_day(days: u64) -> (u64, u64) {
    /// The calendar repeats every 400 years, which are this many days.
    const CYCLE: u64 = 146_097;
    let mut year = 1970 + days / CYCLE * 400;
    let mut rest = days % CYCLE;
    loop {
        let length = 365 + u64::from(is_leap(year));
        if rest < length {
            return (year, rest);
        }
        rest -= length;
        year += 1;
    }
}

/// The month and the day within it, both from 0, of a day of the year from 0.
fn month_and_day(year: u64, day_of_year: u64) -> (usize, u64) {
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut rest = day_of_year;
    for (month, length) in lengths.into_iter().enumerate() {
        if rest < length {
            return (month, rest);
        }
        rest -= length;
    }
    (11, 30)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn equals_python() {
        let format = "%Y-%m-%d %H:%M:%S %B %b %A %a %j %I %p %y %e %%";
        for (seconds, expected) in [
            (
                0,
                "1970-01-01 00:00:00 January Jan Thursday Thu 001 12 AM 70  1 %",
            ),
            (
                951_782_400,
                "2000-02-29 00:00:00 February Feb Tuesday Tue 060 12 AM 00 29 %",
            ),
            (
                1_709_164_799,
                "2024-02-28 23:59:59 February Feb Wednesday Wed 059 11 PM 24 28 %",
            ),
            (
                1_735_689_599,
                "2024-12-31 23:59:59 December Dec Tuesday Tue 366 11 PM 24 31 %",
            ),
            (
                4_102_444_800,
                "2100-01-01 00:00:00 January Jan Friday Fri 001 12 AM 00  1 %",
            ),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(strftime(format, time).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn names_unknown_directives() {
        assert!(strftime("%Q", UNIX_EPOCH).is_err_and(|problem| problem.contains("%Q")));
        assert!(strftime("100%", UNIX_EPOCH).is_err_and(|problem| problem.contains("ends in %")));
    }
}

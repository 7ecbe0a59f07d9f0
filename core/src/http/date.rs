//! RFC 9110 5.6.7: dates, as seconds since the beginning of 1970 in UTC.

use crate::bytes::{NoRoom, Writer, parse_decimal, split_byte};

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const DAY: u64 = 24 * 60 * 60;

/// Days of 400 years, after which the calendar repeats itself.
const ERA_DAYS: u64 = 146_097;

/// Days from the 1st of March of the year 0 to the beginning of 1970.
const EPOCH_DAYS: u64 = 719_468;

/// The last second that has a date: years have four digits.
pub const MAX_DATE: u64 = 253_402_300_799;

/// Reads a date. The name of its weekday is not compared with the rest.
///
/// RFC 9110 5.6.7: a recipient MUST accept all three forms, `Sun, 06 Nov 1994 08:49:37 GMT`,
/// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`. Of a year in two digits, those
/// below 70 are in this century: here is no clock to tell which are 50 years ahead.
pub fn parse(text: &[u8]) -> Option<u64> {
    let mut parts = text.split(|byte| b" ,-".contains(byte)).filter(|part| !part.is_empty());
    let weekday = parts.next()?;
    WEEKDAYS.iter().find(|name| weekday.starts_with(name.as_bytes()))?;
    let second = parts.next()?;
    let (day, month, year, time) = if second.first()?.is_ascii_digit() {
        let (month, year, time) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next()? != b"GMT" {
            return None;
        }
        (second, month, year, time)
    } else {
        let (day, time, year) = (parts.next()?, parts.next()?, parts.next()?);
        (day, second, year, time)
    };
    if parts.next().is_some() {
        return None;
    }
    let month = MONTHS.iter().zip(1..).find(|(name, _)| name.as_bytes() == month)?.1;
    let year = match (year.len(), parse_decimal(year)?) {
        (4, year @ 1970..) => year,
        (2, year) => year + if year < 70 { 2_000 } else { 1_900 },
        _ => return None,
    };
    let day = parse_decimal(day).filter(|day| (1..=31).contains(day))?;
    let days = days(year, month, day);
    // There is no 31st of April.
    if date(days) != (year, month, day) {
        return None;
    }
    let (hours, rest) = split_byte(time, b':')?;
    let (minutes, seconds) = split_byte(rest, b':')?;
    let below = |text: &[u8], end| parse_decimal(text).filter(|&number| text.len() == 2 && number < end);
    // A minute may have a leap second.
    Some(days * DAY + below(hours, 24)? * 3_600 + below(minutes, 60)? * 60 + below(seconds, 61)?)
}

/// Writes the date in the first form, that of HTTP; what is beyond [`MAX_DATE`], as that.
pub fn emit(writer: &mut Writer<'_>, seconds: u64) -> Result<(), NoRoom> {
    let seconds = seconds.min(MAX_DATE);
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = date(days);
    let name = |names: &'static [&str], at: u64| names.get(at as usize).copied().unwrap_or_default();
    writer.text(name(&WEEKDAYS, days % 7));
    writer.text(", ");
    two_digits(writer, day)?;
    writer.text(" ");
    writer.text(name(&MONTHS, month.saturating_sub(1)));
    writer.text(" ");
    writer.decimal(year);
    for (mark, number) in [(" ", rest / 3_600), (":", rest / 60 % 60), (":", rest % 60)] {
        writer.text(mark);
        two_digits(writer, number)?;
    }
    writer.text(" GMT");
    writer.check()
}

fn two_digits(writer: &mut Writer<'_>, number: u64) -> Result<(), NoRoom> {
    writer.put(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
    writer.check()
}

/// Days since the beginning of 1970 of a date behind it, in a year of four digits. Years begin in
/// March here, so that the leap day is their last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

/// Year, month and day, the other way round.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (ERA_DAYS - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn emitted(seconds: u64) -> std::string::String {
        let mut buf = [0; 29];
        let mut writer = Writer::new(&mut buf);
        emit(&mut writer, seconds).unwrap();
        core::str::from_utf8(writer.finish()).unwrap().into()
    }

    #[test]
    fn three_forms() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Saturday, 06-Nov-32 08:49:37 GMT"), parse(b"Sat, 06 Nov 2032 08:49:37 GMT"));
    }

    #[test]
    fn what_is_written_is_read() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_301_602_655, "Thu, 31 Mar 2011 20:17:35 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (MAX_DATE, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(emitted(seconds), text);
            assert_eq!(parse(text.as_bytes()), Some(seconds), "{text}");
        }
        for day in (0..60_000).map(|day| day * DAY + day % DAY) {
            assert_eq!(parse(emitted(day).as_bytes()), Some(day));
        }
        assert_eq!(emitted(u64::MAX), emitted(MAX_DATE));
        assert_eq!(emit(&mut Writer::new(&mut [0; 28]), 0), Err(NoRoom));
    }

    #[test]
    fn no_dates() {
        for text in [
            "",
            "Sun",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Apr 1994 08:49:37 GMT",
            "Tue, 29 Feb 2100 00:00:00 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 194 08:49:37 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun Nov  6 08:49:37 1994 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}

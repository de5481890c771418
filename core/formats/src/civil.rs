//! Days since 1970-01-01 and the dates of the Gregorian calendar, which is carried on into the past
//! (as ISO 8601 and SQL do).
//!
//! Both ways count years from March, so that the leap day is a year's last, in eras of 400 years.

/// Days in an era of 400 years.
const ERA: i32 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: i32 = 719_468;

/// Days since 1970-01-01; `None` if the calendar has no such day. Years within ±1,000,000.
#[inline]
pub fn days(year: i32, month: i32, day: i32) -> Option<i32> {
    const LENGTH: [i32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month - 1).ok()?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = *LENGTH.get(index)? + i32::from(month == 2 && leap);
    if day < 1 || day > length {
        return None;
    }
    let year = year - i32::from(month <= 2);
    let of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let in_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(year.div_euclid(400) * ERA + in_era - TO_1970)
}

/// Year, month and day of so many days since 1970-01-01.
#[inline]
pub fn date(days: i64) -> (i64, i64, i64) {
    let days = days + i64::from(TO_1970);
    let of_era = days.rem_euclid(ERA.into());
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = year + days.div_euclid(ERA.into()) * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike as _, NaiveDate};

    use super::*;

    #[test]
    fn every_day_of_twelve_thousand_years_is_chronos_and_goes_both_ways() {
        let mut there = NaiveDate::from_ymd_opt(-2000, 1, 1).unwrap();
        while there.year() < 10_001 {
            let (month, day) = (there.month().cast_signed(), there.day().cast_signed());
            let days = days(there.year(), month, day).unwrap();
            assert_eq!(days, there.to_epoch_days(), "{there}");
            let back = (there.year().into(), month.into(), day.into());
            assert_eq!(date(days.into()), back, "{there}");
            there = there.succ_opt().unwrap();
        }
    }

    #[test]
    fn days_of_no_calendar_are_none() {
        for (year, month, day) in [
            (0, 0, 0),
            (2020, 0, 15),
            (2020, 5, 0),
            (2020, 13, 1),
            (2020, 4, 31),
            (2021, 2, 29),
            (1900, 2, 29),
        ] {
            assert_eq!(days(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}

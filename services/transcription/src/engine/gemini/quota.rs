//! When Google's daily quota begins anew: at midnight in its own time zone.

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset, Weekday};

/// Seconds from `now` to the next midnight in California (Google's "Requests per day reset at midnight Pacific time").
pub fn seconds_to_reset(now: OffsetDateTime) -> u32 {
    let local = now.to_offset(pacific_offset(now));
    let midnight = (local.date() + Duration::DAY).midnight();
    // The night may be one with a change of the clock.
    let guess = midnight.assume_offset(local.offset());
    let midnight = midnight.assume_offset(pacific_offset(guess));
    u32::try_from((midnight - now).whole_seconds())
        .unwrap_or(1)
        .max(1)
}

/// UTC-7 from the second Sunday of March, 2:00, to the first Sunday of November, 2:00, else UTC-8 (15 U.S.C. §260a).
fn pacific_offset(at: OffsetDateTime) -> UtcOffset {
    let hours = |hours| UtcOffset::from_hms(hours, 0, 0).unwrap_or(UtcOffset::UTC);
    let (standard, daylight) = (hours(-8), hours(-7));
    let sunday = |month, earliest| {
        let first = Date::from_calendar_date(at.year(), month, earliest).ok()?;
        let days = (7 - first.weekday().number_days_from_sunday()) % 7;
        let two = Time::from_hms(2, 0, 0).ok()?;
        debug_assert_eq!(
            (first + Duration::days(days.into())).weekday(),
            Weekday::Sunday
        );
        Some((first + Duration::days(days.into())).with_time(two))
    };
    let begin = sunday(Month::March, 8).map(|begin| begin.assume_offset(standard));
    let end = sunday(Month::November, 1).map(|end| end.assume_offset(daylight));
    match (begin, end) {
        (Some(begin), Some(end)) if begin <= at && at < end => daylight,
        _ => standard,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_california_in_summer_and_in_winter() {
        assert_eq!(seconds_to_reset(datetime!(2026-07-01 06:59:00 UTC)), 60);
        assert_eq!(seconds_to_reset(datetime!(2026-07-01 07:00:00 UTC)), 86_400);
        assert_eq!(seconds_to_reset(datetime!(2026-12-01 07:59:30 UTC)), 30);
        // The night of 1 November 2026 has 25 hours.
        assert_eq!(
            seconds_to_reset(datetime!(2026-11-01 07:00:00 UTC)),
            25 * 3600
        );
        // That of 8 March 2026 has 23.
        assert_eq!(
            seconds_to_reset(datetime!(2026-03-08 08:00:00 UTC)),
            23 * 3600
        );
    }
}

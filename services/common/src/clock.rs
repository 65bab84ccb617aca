//! The only place where the time of day is read.

use time::OffsetDateTime;

/// The time of day now, in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Whole seconds since 1970-01-01T00:00:00Z, as RFC 7519's `NumericDate` counts them.
pub fn unix_seconds() -> u64 {
    u64::try_from(now().unix_timestamp()).unwrap_or(0)
}

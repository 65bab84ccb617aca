//! What an answer that is no success means: whether to ask again, and what the client is told.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;
use transcription_common::clock;

use super::quota;
use crate::error::Error;
use crate::metrics::RetryReason;

/// Characters of what Google says that go into the log.
const MAX_SAID_CHARS: usize = 500;

/// What a refusal means.
#[derive(Debug)]
pub enum Refusal {
    /// Asking again can help.
    Again {
        /// Why.
        reason: RetryReason,
        /// How long Google wants us to wait, if it says so.
        delay: Option<Duration>,
        /// The error if it does not help.
        last: Error,
    },
    /// It cannot.
    Final(Error),
}

/// Google's error (google.rpc.Status as JSON).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    message: String,
    #[serde(rename = "status")]
    code: String,
    details: Vec<Value>,
}

/// Reads a refusal.
pub fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let said = parse(body);
    let cause = || {
        let shown = if said.message.is_empty() {
            String::from_utf8_lossy(body).into_owned()
        } else {
            format!("{}: {}", said.code, said.message)
        };
        let shown: String = shown.chars().take(MAX_SAID_CHARS).collect();
        anyhow::anyhow!("Gemini answered {}: {shown}", status.as_u16())
    };
    let delay = said.delay_in_details();
    let delay = delay.or_else(|| retry_after(headers));
    let delay = delay.or_else(|| said.delay_in_words());
    let again = |reason, last| Refusal::Again {
        reason,
        delay,
        last,
    };
    match status.as_u16() {
        400 => Refusal::Final(of_bad_request(&said, cause())),
        401 | 403 | 404 => Refusal::Final(Error::EngineMisconfigured(cause())),
        408 | 504 => again(RetryReason::Timeout, Error::EngineSlow),
        429 if said.is_daily() => Refusal::Final(Error::EngineQuota {
            retry_after_seconds: Some(quota::seconds_to_reset(clock::now())),
        }),
        429 => {
            let seconds = delay.unwrap_or(Duration::from_secs(1)).as_secs_f64().ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "`as` saturates, and a delay is not negative"
            )]
            let retry_after_seconds = Some((seconds as u32).max(1));
            again(
                RetryReason::Rate,
                Error::EngineQuota {
                    retry_after_seconds,
                },
            )
        }
        500..=599 => again(RetryReason::Server, Error::Engine(cause())),
        _ => Refusal::Final(Error::Engine(cause())),
    }
}

/// `INVALID_ARGUMENT` is a wrong key, a recording that Google cannot use, or a mistake of ours.
fn of_bad_request(said: &Said, cause: anyhow::Error) -> Error {
    let message = said.message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if said.has_reason("API_KEY_INVALID") {
        return Error::EngineMisconfigured(cause);
    }
    if said.code == "FAILED_PRECONDITION" && !has(&["active state"]) {
        // The region, or the account behind the key.
        return Error::EngineMisconfigured(cause);
    }
    // What is wrong with our own words is not the recording's fault.
    let is_ours = has(&[
        "json",
        "unknown name",
        "field",
        "language",
        "vocabulary",
        "schema",
    ]);
    if has(&["too long", "duration exceeds", "exceeds the maximum"]) && !is_ours {
        warn!(%cause, "Gemini finds a recording too long");
        return Error::AudioTooLong {
            limit_seconds: None,
        };
    }
    if !is_ours
        && has(&["audio", "media"])
        && has(&["process", "decode", "corrupt", "unsupported", "invalid"])
    {
        warn!(%cause, "Gemini cannot decode a recording");
        return Error::Undecodable(
            "The engine gemini cannot decode the recording: check that it plays, convert it, for example to WAV or FLAC, and send it again."
                .to_owned(),
        );
    }
    Error::Engine(cause)
}

/// Lenient: it can come as an array of one, and a gateway answers in HTML.
fn parse(body: &[u8]) -> Said {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let parsed = parsed.get(0).cloned().unwrap_or(parsed);
    let error = parsed.get("error").cloned().unwrap_or_default();
    serde_json::from_value(error).unwrap_or_default()
}

impl Said {
    fn has_reason(&self, reason: &str) -> bool {
        self.details.iter().any(|detail| detail["reason"] == reason)
    }

    /// `RetryInfo.retryDelay`, for example `34.4s`.
    fn delay_in_details(&self) -> Option<Duration> {
        let mut delays = self.details.iter().map(|detail| &detail["retryDelay"]);
        delays.find_map(|delay| seconds(delay.as_str()?))
    }

    /// The words "Please retry in 44.09s" (or ms).
    fn delay_in_words(&self) -> Option<Duration> {
        let (_, after) = self.message.split_once("retry in ")?;
        seconds(after.split([' ', ',']).next()?.trim_end_matches('.'))
    }

    /// A quota of a day, or one of nothing: waiting a minute does not help.
    fn is_daily(&self) -> bool {
        let violations = self
            .details
            .iter()
            .filter_map(|detail| detail["violations"].as_array());
        violations.flatten().any(|violation| {
            let of_day = violation["quotaId"]
                .as_str()
                .is_some_and(|id| id.contains("PerDay"));
            of_day || violation["quotaValue"] == "0"
        })
    }
}

/// A duration as Protocol Buffers write it in JSON (`1.5s`), or in milliseconds (`900ms`).
fn seconds(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// Seconds; the form with a date is not Google's.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        of(status, &HeaderMap::new(), body.as_bytes())
    }

    fn quota(id: &str, message: &str) -> String {
        format!(
            r#"{{"error": {{"code": 429, "message": "{message}", "status": "RESOURCE_EXHAUSTED", "details": [
                {{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{{"quotaId": "{id}", "quotaValue": "15"}}]}},
                {{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}}]}}}}"#
        )
    }

    #[test]
    fn a_quota_of_a_minute_is_waited_for_and_one_of_a_day_is_final() {
        let minute = refusal(
            429,
            &quota("GenerateRequestsPerMinutePerProjectPerModel", ""),
        );
        let Refusal::Again { delay, last, .. } = minute else {
            panic!("{minute:?}");
        };
        assert_eq!(delay, Some(Duration::from_millis(34_400)));
        assert_eq!(last.retry_after_seconds(), Some(35));

        let day = refusal(429, &quota("GenerateRequestsPerDayPerProjectPerModel", ""));
        assert!(
            matches!(day, Refusal::Final(Error::EngineQuota { .. })),
            "{day:?}"
        );
    }

    #[test]
    fn the_delay_is_that_of_the_details_else_of_the_header_else_of_the_words() {
        let delay = |headers: &HeaderMap, body: &str| match of(
            StatusCode::SERVICE_UNAVAILABLE,
            headers,
            body.as_bytes(),
        ) {
            Refusal::Again { delay, .. } => delay,
            refusal @ Refusal::Final(_) => panic!("{refusal:?}"),
        };
        let none = HeaderMap::new();
        let header = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        let words = |words: &str| format!(r#"{{"error": {{"message": "{words}"}}}}"#);
        let all = quota("PerMinute", "Please retry in 44.09s.");

        assert_eq!(delay(&header, &all), Some(Duration::from_millis(34_400)));
        let said = words("Please retry in 44.09s.");
        assert_eq!(delay(&header, &said), Some(Duration::from_secs(7)));
        assert_eq!(delay(&none, &said), Some(Duration::from_millis(44_090)));
        let said = words("Please retry in 900ms.");
        assert_eq!(delay(&none, &said), Some(Duration::from_millis(900)));
        assert_eq!(delay(&none, &words("Please retry later.")), None);
    }

    #[test]
    fn what_google_says_is_read_leniently() {
        let array = r#"[{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid", "details": [{"reason": "API_KEY_INVALID"}]}}]"#;
        assert!(matches!(
            refusal(400, array),
            Refusal::Final(Error::EngineMisconfigured(_))
        ));
        assert!(matches!(
            refusal(502, "<html>Bad gateway</html>"),
            Refusal::Again { .. }
        ));
        assert!(matches!(refusal(418, ""), Refusal::Final(Error::Engine(_))));
        assert!(matches!(
            refusal(400, r#"{"error": "a text"}"#),
            Refusal::Final(Error::Engine(_))
        ));
    }
}

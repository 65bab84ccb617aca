//! What clients saw, request by request, and how it is told.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// A new account.
    Register,
    /// A token.
    LogIn,
    /// Whose a token is.
    Me,
    /// The text of a recording.
    Transcribe,
    /// A recording that is not there: who has no good token is not even told that.
    Look,
}

impl Ask {
    /// All of the auth service.
    pub const AUTH: [Self; 3] = [Self::Register, Self::LogIn, Self::Me];
    /// All of the transcription service.
    pub const TRANSCRIPTION: [Self; 2] = [Self::Transcribe, Self::Look];

    const fn name(self) -> &'static str {
        match self {
            Self::Register => "POST /register",
            Self::LogIn => "POST /login",
            Self::Me => "GET /me",
            Self::Transcribe => "POST /transcribe",
            Self::Look => "GET /transcriptions/{id}",
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The answer that was wanted.
    AsWanted,
    /// Another answer: its status and its code.
    Refused(u16, String),
    /// There was no connection, so the request was not sent.
    NotConnected(String),
    /// The connection broke while the request was under way.
    Broken(String),
    /// There was no answer in time.
    Late,
}

impl Outcome {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let cause = cause.to_string();
        if error.is_connect() {
            Self::NotConnected(cause)
        } else if error.is_timeout() {
            Self::Late
        } else {
            Self::Broken(cause)
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsWanted => write!(formatter, "as wanted"),
            Self::Refused(status, code) => write!(formatter, "{status} {code}"),
            Self::NotConnected(cause) => write!(formatter, "not connected ({cause})"),
            Self::Broken(cause) => write!(formatter, "broken off ({cause})"),
            Self::Late => write!(formatter, "not answered in time"),
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) ask: Ask,
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) outcome: Outcome,
}

/// What clients saw in a while. Printed, it is a table.
#[derive(Debug)]
pub struct Report {
    since: Duration,
    until: Duration,
    attempts: Vec<Attempt>,
}

impl Report {
    pub(super) fn new(since: Duration, until: Duration, mut attempts: Vec<Attempt>) -> Self {
        attempts.sort_by_key(|attempt| attempt.ended);
        Self {
            since,
            until,
            attempts,
        }
    }

    /// How many of these requests there were.
    pub fn count(&self, asks: &[Ask]) -> usize {
        self.of(asks).count()
    }

    /// What came of those of these requests that were not answered as wanted.
    pub fn failures(&self, asks: &[Ask]) -> Vec<&Outcome> {
        self.of(asks)
            .map(|attempt| &attempt.outcome)
            .filter(|outcome| **outcome != Outcome::AsWanted)
            .collect()
    }

    /// The longest time in which none of these requests was answered as wanted.
    pub fn longest_gap(&self, asks: &[Ask]) -> Duration {
        let answered = self
            .of(asks)
            .filter(|attempt| attempt.outcome == Outcome::AsWanted)
            .map(|attempt| attempt.ended);
        let mut longest = Duration::ZERO;
        let mut last = self.since;
        for moment in answered.chain([self.until]) {
            longest = longest.max(moment.saturating_sub(last));
            last = moment;
        }
        longest
    }

    fn of(&self, asks: &[Ask]) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(move |attempt| asks.contains(&attempt.ask))
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<26}{:>6}{:>11}{:>9}{:>9}  otherwise",
            "request", "sent", "as wanted", "slowest", "gap"
        )?;
        for ask in Ask::AUTH.into_iter().chain(Ask::TRANSCRIPTION) {
            let mut outcomes = BTreeMap::<&Outcome, usize>::new();
            let mut slowest = Duration::ZERO;
            for attempt in self.of(&[ask]) {
                *outcomes.entry(&attempt.outcome).or_default() += 1;
                if attempt.outcome == Outcome::AsWanted {
                    slowest = slowest.max(attempt.ended.saturating_sub(attempt.began));
                }
            }
            let sent = outcomes.values().sum::<usize>();
            let wanted = outcomes.remove(&Outcome::AsWanted).unwrap_or_default();
            let others = outcomes
                .iter()
                .map(|(outcome, count)| format!("{count} {outcome}"));
            let others = others.collect::<Vec<_>>().join(", ");
            writeln!(
                formatter,
                "{:<26}{sent:>6}{wanted:>11}{:>7.2} s{:>7.2} s  {}",
                ask.name(),
                slowest.as_secs_f64(),
                self.longest_gap(&[ask]).as_secs_f64(),
                if others.is_empty() { "-" } else { &others },
            )?;
        }
        let seconds = self.until.saturating_sub(self.since).as_secs_f64();
        write!(formatter, "in {seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_two_good_answers_whatever_comes_between() {
        let attempt = |ended: u64, outcome: Outcome| Attempt {
            ask: Ask::Me,
            began: Duration::from_secs(ended),
            ended: Duration::from_secs(ended),
            outcome,
        };
        let report = Report::new(
            Duration::from_secs(10),
            Duration::from_secs(20),
            vec![
                attempt(11, Outcome::AsWanted),
                attempt(12, Outcome::Late),
                attempt(16, Outcome::AsWanted),
            ],
        );

        assert_eq!(report.longest_gap(&Ask::AUTH), Duration::from_secs(5));
        assert_eq!(
            report.longest_gap(&Ask::TRANSCRIPTION),
            Duration::from_secs(10)
        );
        assert_eq!(report.failures(&Ask::AUTH), [&Outcome::Late]);
    }
}

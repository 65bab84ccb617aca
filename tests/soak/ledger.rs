//! The books: what clients counted, next to what we counted, what is stored, and what the others counted.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde_json::Value;
use transcription_tests::s3_proxy::Operation;

use crate::accounts::{LOGIN, REGISTER, TOKEN};
use crate::bucket::Bucket;
use crate::metrics::Metrics;
use crate::notes::{Notes, Route, Seen, Service};
use crate::people::TRANSCRIBE;

const REQUESTS: &str = "http_server_request_duration_seconds_count";

/// All that is compared.
pub struct Books {
    pub answers: BTreeMap<Seen, u64>,
    pub gone: u64,
    pub left_unheard: u64,
    pub kept: u64,
    pub kept_bytes: u64,
    pub auth: Metrics,
    pub transcription: Metrics,
    /// What the metrics said before the first request.
    pub auth_before: Metrics,
    pub transcription_before: Metrics,
    pub users: u64,
    pub bucket: Bucket,
    pub operations: BTreeMap<Operation, u64>,
    pub google: Value,
}

/// One line of the table: numbers that have to be the same, where there are any.
pub struct Row {
    what: String,
    clients: Option<u64>,
    metrics: Option<u64>,
    stored: Option<u64>,
    others: Option<u64>,
}

impl Row {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            clients: None,
            metrics: None,
            stored: None,
            others: None,
        }
    }

    fn clients(self, clients: u64) -> Self {
        Self {
            clients: Some(clients),
            ..self
        }
    }

    fn metrics(self, metrics: u64) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    fn stored(self, stored: u64) -> Self {
        Self {
            stored: Some(stored),
            ..self
        }
    }

    fn others(self, others: u64) -> Self {
        Self {
            others: Some(others),
            ..self
        }
    }

    fn numbers(&self) -> [Option<u64>; 4] {
        [self.clients, self.metrics, self.stored, self.others]
    }

    /// Whether all its numbers are the same.
    pub fn holds(&self) -> bool {
        let mut numbers = self.numbers().into_iter().flatten();
        let first = numbers.next();
        numbers.all(|number| Some(number) == first)
    }

    fn is_empty(&self) -> bool {
        self.numbers()
            .into_iter()
            .flatten()
            .all(|number| number == 0)
    }

    pub fn heading() -> String {
        let [clients, metrics, stored, others] = ["clients", "metrics", "stored", "others"];
        format!(
            "{:<56}{clients:>12}{metrics:>12}{stored:>12}{others:>12}",
            "what"
        )
    }
}

impl Display for Row {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<56}", self.what)?;
        for number in self.numbers() {
            let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            write!(formatter, "{number:>12}")?;
        }
        let end = if self.holds() { "" } else { "  DIFFERS" };
        write!(formatter, "{end}")
    }
}

impl Books {
    /// Every line that has a number.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = self.requests();
        rows.extend(self.accounts());
        rows.extend(self.outcomes());
        rows.extend(self.recordings());
        rows.extend(self.engine());
        rows.extend(self.operations());
        rows.retain(|row| !row.is_empty());
        rows
    }

    /// Answers by service, route and status. Who is gone in the middle of an upload is told so all the same, and hears nothing of it.
    fn requests(&self) -> Vec<Row> {
        let mut counts = BTreeMap::<(Service, String, String, u16), (u64, u64)>::new();
        for (seen, count) in &self.answers {
            let Route {
                service,
                method,
                template,
            } = seen.route;
            let key = (service, method.to_owned(), template.to_owned(), seen.status);
            counts.entry(key).or_default().0 += count;
        }
        let method = TRANSCRIBE.method.to_owned();
        let template = TRANSCRIBE.template.to_owned();
        let key = (Service::Transcription, method, template, 400);
        counts.entry(key).or_default().0 += self.gone;
        let labels = [
            "http_request_method",
            "http_route",
            "http_response_status_code",
        ];
        for (service, after, before) in [
            (Service::Auth, &self.auth, &self.auth_before),
            (
                Service::Transcription,
                &self.transcription,
                &self.transcription_before,
            ),
        ] {
            let before = before.by(REQUESTS, &labels);
            for (values, count) in after.by(REQUESTS, &labels) {
                let earlier = before.get(&values).copied().unwrap_or_default();
                let status = values[2].parse().unwrap_or_default();
                let key = (service, values[0].clone(), values[1].clone(), status);
                counts.entry(key).or_default().1 += count - earlier;
            }
        }
        let rows = counts.into_iter().map(|(key, (clients, metrics))| {
            let (service, method, template, status) = key;
            let template = if template.is_empty() {
                "(no route)"
            } else {
                &template
            };
            let what = format!("{} {method} {template} {status}", service.name());
            Row::new(what).clients(clients).metrics(metrics)
        });
        rows.collect()
    }

    fn accounts(&self) -> Vec<Row> {
        let logins = |result| self.auth.sum("auth_logins_total", &[("result", result)]);
        let registrations = |result| {
            self.auth
                .sum("auth_registrations_total", &[("result", result)])
        };
        let login = |code: &str| self.seen(LOGIN, &[code]);
        let registered = |codes: &[&str]| self.seen(REGISTER, codes);
        let invalid = ["invalid_field", "invalid_body", "passwords_differ"];
        let rejected = |metrics: &Metrics| metrics.sum("jwt_rejected_total", &[]);
        vec![
            Row::new("log-ins: ok")
                .clients(login("") + self.seen(TOKEN, &[""]))
                .metrics(logins("ok")),
            Row::new("log-ins: bad credentials")
                .clients(login("bad_credentials") + self.seen(TOKEN, &["invalid_grant"]))
                .metrics(logins("bad_credentials")),
            Row::new("log-ins: throttled")
                .clients(login("too_many_failures") + self.with_status(TOKEN, 429))
                .metrics(logins("throttled")),
            Row::new("log-ins: busy, error")
                .clients(
                    login("busy")
                        + self.with_status(LOGIN, 500)
                        + self.with_status(TOKEN, 503)
                        + self.with_status(TOKEN, 500),
                )
                .metrics(logins("busy") + logins("error")),
            Row::new("accounts: made, and rows of the database")
                .clients(registered(&[""]))
                .metrics(registrations("ok"))
                .stored(self.users),
            Row::new("accounts: taken")
                .clients(registered(&["username_taken", "email_taken"]))
                .metrics(registrations("taken")),
            Row::new("accounts: invalid")
                .clients(registered(&invalid))
                .metrics(registrations("invalid")),
            Row::new("accounts: busy")
                .clients(registered(&["too_many_failures", "busy"]))
                .metrics(registrations("busy")),
            Row::new("tokens rejected by auth")
                .clients(self.rejected(Service::Auth))
                .metrics(rejected(&self.auth)),
            Row::new("tokens rejected by transcription")
                .clients(self.rejected(Service::Transcription))
                .metrics(rejected(&self.transcription)),
        ]
    }

    /// Requests to transcribe by outcome. What came of those who left only the bucket tells; nothing there of one means that the bucket
    /// did not take it.
    fn outcomes(&self) -> Vec<Row> {
        let mut clients = BTreeMap::<&str, u64>::new();
        for (seen, count) in &self.answers {
            if seen.route == TRANSCRIBE && seen.status != 401 {
                *clients.entry(outcome(seen.status, &seen.code)).or_default() += count;
            }
        }
        *clients.entry("client_gone").or_default() += self.gone;
        let mut told = 0;
        for (state, count) in &self.bucket.untold {
            let code = state.split(", ").nth(1).unwrap_or_default();
            *clients.entry(outcome(0, code)).or_default() += count;
            told += count;
        }
        *clients.entry("storage").or_default() += self.left_unheard.saturating_sub(told);
        let name = "transcription_requests_total";
        let metrics = self.transcription.by(name, &["outcome"]);
        let mut names = clients
            .keys()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>();
        names.extend(metrics.keys().map(|values| values[0].clone()));
        names.sort();
        names.dedup();
        let row = |name: String| {
            let counted = metrics
                .get(&vec![name.clone()])
                .copied()
                .unwrap_or_default();
            let of_clients = clients.get(&*name).copied().unwrap_or_default();
            Row::new(format!("recordings: {name}"))
                .clients(of_clients)
                .metrics(counted)
        };
        names.into_iter().map(row).collect()
    }

    fn recordings(&self) -> Vec<Row> {
        let bucket = &self.bucket;
        let untold = bucket.untold.values().sum::<u64>();
        let stage = |stage| {
            let name = "transcription_stage_duration_seconds_count";
            self.transcription.sum(name, &[("stage", stage)])
        };
        let accepted = "recordings accepted, and their manifests";
        let ok = self.seen(TRANSCRIBE, &[""]);
        let untold_complete = bucket.untold.get("complete").copied().unwrap_or_default();
        vec![
            Row::new(accepted)
                .clients(self.kept + untold)
                .metrics(stage("store_audio"))
                .stored(bucket.manifests),
            Row::new("audio objects")
                .metrics(stage("store_audio"))
                .stored(bucket.audio_objects),
            Row::new("bytes of audio")
                .clients(self.kept_bytes)
                .metrics(
                    self.transcription
                        .sum("transcription_audio_bytes_total", &[]),
                )
                .stored(bucket.audio_bytes),
            Row::new("texts, and manifests that are complete")
                .clients(ok + untold_complete)
                .metrics(stage("store_transcript"))
                .stored(bucket.texts)
                .others(bucket.complete()),
        ]
    }

    /// Calls of Google's, as the stand-in counted them.
    fn engine(&self) -> Vec<Row> {
        let bucket = &self.bucket;
        let google = |name: &str| self.google[name].as_u64().unwrap_or_default();
        let retries = self.transcription.sum("engine_retries_total", &[]);
        let asked = self.transcription.sum(
            "transcription_stage_duration_seconds_count",
            &[("stage", "engine")],
        );
        let failed = [
            "engine_failed",
            "engine_quota",
            "engine_misconfigured",
            "engine_timeout",
        ];
        let failed = failed.map(|code| bucket.failed(code)).iter().sum::<u64>();
        let failed = failed + bucket.broken_off;
        let heard = bucket.complete() + bucket.failed("content_blocked");
        let (calls, billed) = (google("generate_content_calls"), google("billed_calls"));
        let spoiled = google("spoiled_answers");
        vec![
            Row::new("Google: calls, with those that were asked again")
                .metrics(asked + retries - bucket.never_asked)
                .stored(heard + failed + retries)
                .others(calls),
            Row::new("Google: answers that were heard")
                .stored(heard)
                .others(billed - spoiled),
            Row::new("Google: failures for good")
                .stored(failed)
                .others(calls - billed - retries + spoiled),
            Row::new("Google: files uploaded")
                .stored(bucket.files)
                .others(google("files_uploaded")),
            Row::new("Google: files deleted")
                .stored(bucket.files)
                .others(google("files_deleted")),
        ]
    }

    fn operations(&self) -> Vec<Row> {
        let name = "s3_operation_duration_seconds_count";
        let mut counts = BTreeMap::<(String, String), (u64, u64)>::new();
        for (values, count) in self.transcription.by(name, &["operation", "outcome"]) {
            let key = (values[0].clone(), values[1].clone());
            counts.entry(key).or_default().0 = count;
        }
        for (operation, count) in &self.operations {
            let key = (operation.name.to_owned(), operation.outcome.to_owned());
            counts.entry(key).or_default().1 = *count;
        }
        let rows = counts
            .into_iter()
            .map(|((operation, outcome), (metrics, proxy))| {
                Row::new(format!("S3: {operation}, {outcome}"))
                    .metrics(metrics)
                    .others(proxy)
            });
        rows.collect()
    }

    /// How many answers of this route had one of these codes.
    fn seen(&self, route: Route, codes: &[&str]) -> u64 {
        self.sum(|seen| seen.route == route && codes.contains(&&*seen.code))
    }

    fn with_status(&self, route: Route, status: u16) -> u64 {
        self.sum(|seen| seen.route == route && seen.status == status)
    }

    fn rejected(&self, service: Service) -> u64 {
        self.sum(|seen| seen.route.service == service && seen.code.starts_with("token_"))
    }

    fn sum(&self, fits: impl Fn(&Seen) -> bool) -> u64 {
        let fitting = self.answers.iter().filter(|(seen, _)| fits(seen));
        fitting.map(|(_, count)| count).sum()
    }
}

/// How the metric calls what was answered so.
fn outcome(status: u16, code: &str) -> &'static str {
    match code {
        "" => "ok",
        "client_gone" => "client_gone",
        "too_large" => "too_large",
        "slow_upload" => "slow_upload",
        "not_audio" => "unsupported",
        "audio_undecodable" | "audio_too_long" => "undecodable",
        "content_blocked" => "blocked",
        "user_busy" | "busy" => "busy",
        "engine_quota" => "quota",
        "engine_misconfigured" => "engine_config",
        "engine_timeout" => "timeout",
        "storage_unavailable" => "storage",
        _ if (400..500).contains(&status) => "bad_request",
        _ => "engine",
    }
}

/// The bytes of all recordings that were accepted, as they were sent.
pub fn kept_bytes(notes: &Notes, bucket: &Bucket) -> u64 {
    let kept = notes.kept();
    let told = kept.iter().map(|kept| kept.sent.size_bytes).sum::<u64>();
    told + bucket.untold_bytes
}
